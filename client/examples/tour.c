/* SPDX-License-Identifier: Apache-2.0 */
/* The code of docs/client.md, which a test compares with it. Runs against a cluster at the default
 * place, or at MUSTER_ENDPOINTS. */
#include <stdio.h>
#include <string.h>

#include <muster.h>

/* [open] */
static struct muster *open_client(void)
{
    struct muster_options o;
    struct muster_error e;
    struct muster *m = NULL;
    muster_options_init(&o);
    o.request_timeout_ms = 5000;
    if (muster_open(&o, &m, &e) != MUSTER_OK) {
        (void)fprintf(stderr, "%s\n", e.text);
    }
    return m;
}
/* [end] */

/* [config] */
static int add_a_line(struct muster *m, const char *line)
{
    struct muster_error e;
    struct muster_config *c = NULL;
    for (;;) {
        char text[256] = "";
        struct muster_publish how = {.author = "tour", .create_only = true};
        muster_status rc = muster_config_get(m, "app", "lines", &c, &e);
        if (rc == MUSTER_OK) {
            how = (struct muster_publish){.author = "tour", .if_revision = c->revision};
            (void)snprintf(text, sizeof(text), "%.200s", c->content);
            muster_config_free(c);
        } else if (rc != MUSTER_NOT_FOUND) {
            return -1;
        }
        size_t len = strlen(text);
        (void)snprintf(text + len, sizeof(text) - len, "%s\n", line);
        rc = muster_config_publish(m, "app", "lines", text, strlen(text), &how, NULL, &e);
        if (rc != MUSTER_CONFLICT) { /* somebody else was faster: look again */
            return rc == MUSTER_OK ? 0 : -1;
        }
    }
}
/* [end] */

/* [subscribe] */
static void on_config(void *user, const struct muster_config *c)
{
    (void)user;
    (void)printf("%s/%s is at revision %llu%s\n", c->group, c->key, (unsigned long long)c->revision,
                 c->deleted ? ", deleted" : "");
}
/* [end] */

/* [service] */
static int call_a_web_server(struct muster *m, const char *customer)
{
    struct muster_error e;
    struct muster_service *web = NULL;
    struct muster_instance *one = NULL;
    if (muster_discover(m, NULL, "web", &web, &e) != MUSTER_OK) {
        return -1;
    }
    muster_status rc = muster_service_pick(web, MUSTER_PICK_HASH, customer, &one, &e);
    if (rc == MUSTER_OK) {
        (void)printf("asking %s:%u for %s\n", one->address, one->port, customer);
        muster_instance_free(one);
    }
    muster_service_close(web); /* a program would keep it: its list stays fresh */
    return rc == MUSTER_OK ? 0 : -1;
}
/* [end] */

/* [register] */
static muster_status serve(struct muster *m)
{
    struct muster_instance i;
    struct muster_error e;
    muster_instance_init(&i);
    i.service = "web";
    i.address = "127.0.0.1";
    i.port = 8080;
    i.ttl_ms = 10000;
    return muster_register(m, &i, &e); /* until muster_deregister() or muster_close() */
}
/* [end] */

int main(void)
{
    struct muster_subscription *s = NULL;
    struct muster *m = open_client();
    if (m == NULL) {
        return 1;
    }
    int rc = muster_config_subscribe(m, "app", "lines", on_config, NULL, &s, NULL) == MUSTER_OK;
    rc = rc && add_a_line(m, "hello") == 0 && serve(m) == MUSTER_OK;
    rc = rc && call_a_web_server(m, "customer 7") == 0;
    muster_unsubscribe(s);
    muster_close(m);
    return rc ? 0 : 1;
}
