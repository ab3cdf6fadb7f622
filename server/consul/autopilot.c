/* SPDX-License-Identifier: Apache-2.0 */
#include "server/consul/autopilot.h"

#include <stdio.h>

#include "base/json_write.h"

enum { NS_PER_MS = 1000000, NS_PER_S = 1000 * NS_PER_MS };

#define AT(m) offsetof(struct autopilot, m)
static const struct body_field fields[] = {
    {"CleanupDeadServers", BODY_BOOL, AT(cleans), NULL},
    {"LastContactThreshold", BODY_DURATION, AT(contact), NULL},
    {"MaxTrailingLogs", BODY_INT, AT(trailing), NULL},
    {"MinQuorum", BODY_INT, AT(quorum), NULL},
    {"ServerStabilizationTime", BODY_DURATION, AT(stable), NULL},
    {"RedundancyZoneTag", BODY_STR, AT(zone), NULL},
    {"DisableUpgradeMigration", BODY_BOOL, AT(no_upgrade), NULL},
    {"UpgradeVersionTag", BODY_STR, AT(version), NULL},
    {"CreateIndex", BODY_SKIPPED, 0, NULL},
    {"ModifyIndex", BODY_SKIPPED, 0, NULL},
};
#undef AT
const struct body_table autopilot_table = {"api.AutopilotConfiguration", sizeof(struct autopilot),
                                           fields, N_ELEMENTS(fields)};

static void put_duration(struct jw *w, const char *name, int64_t ns)
{
    char text[32];
    (void)snprintf(text, sizeof(text), ns % NS_PER_S == 0 ? "%llds" : "%lldms",
                   (long long)(ns % NS_PER_S == 0 ? ns / NS_PER_S : ns / NS_PER_MS));
    jw_key(w, name);
    jw_str(w, text);
}

static void put_int(struct jw *w, const char *name, int64_t n)
{
    jw_key(w, name);
    jw_i64(w, n);
}

static void put_bool(struct jw *w, const char *name, int v)
{
    jw_key(w, name);
    jw_bool(w, v);
}

static void put_text(struct jw *w, const char *name, struct slice s)
{
    jw_key(w, name);
    jw_slice(w, s);
}

void autopilot_text(const struct autopilot *a, struct buf *out)
{
    struct jw w;
    jw_init(&w, out);
    jw_obj(&w);
    put_bool(&w, "CleanupDeadServers", a->cleans);
    put_duration(&w, "LastContactThreshold", a->contact);
    put_int(&w, "MaxTrailingLogs", a->trailing);
    put_int(&w, "MinQuorum", a->quorum);
    put_duration(&w, "ServerStabilizationTime", a->stable);
    put_text(&w, "RedundancyZoneTag", a->zone);
    put_bool(&w, "DisableUpgradeMigration", a->no_upgrade);
    put_text(&w, "UpgradeVersionTag", a->version);
    jw_end(&w);
}
