/* SPDX-License-Identifier: Apache-2.0 */
/* The public header from C++: it compiles, links, and nothing in it is a word of that language. */
#include <muster.h>

static void on_config(void *, const struct muster_config *)
{
}

static int check()
{
    struct muster_options o;
    struct muster_instance i;
    struct muster *m = nullptr;
    struct muster_subscription *s = nullptr;
    struct muster_error e;
    muster_options_init(&o);
    muster_instance_init(&i);
    o.endpoints = "http://127.0.0.1:1";
    o.namespace_ = "team";
    if (muster_open(&o, &m, &e) != MUSTER_OK ||
        muster_config_subscribe(m, "app", "db", on_config, nullptr, &s, &e) != MUSTER_OK) {
        return 1;
    }
    muster_unsubscribe(s);
    muster_close(m);
    return muster_version()[0] != '\0' ? 0 : 1;
}

int main()
{
    return check();
}
