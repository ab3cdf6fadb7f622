/* SPDX-License-Identifier: Apache-2.0 */
#include <jansson.h>
#include <signal.h>

#include "base/mem.h"
#include "tools/musterctl/cmd.h"

static enum ctl_format format_of(const char *word)
{
    return strcmp(word, "json") == 0    ? CTL_JSON
           : strcmp(word, "plain") == 0 ? CTL_PLAIN
                                        : CTL_TABLE;
}

static int run(struct ctl *c)
{
    struct ctl_parsed *p = &c->p;
    ctl_out_init(&c->out, stdout, format_of(ctl_opt(p, "output")), !ctl_opt_has(p, "no-color"));
    c->out.is_quiet = ctl_opt_has(p, "quiet");
    int rc = p->command->run(c);
    ctl_progress_end(&c->out);
    ctl_close(c);
    return rc;
}

int main(int argc, char **argv)
{
    struct ctl c = {0};
    struct err e = {0};
    int rc = CTL_OK;
    /* A closed pipe is an error of the write, told apart in ctl_out_flush(). */
    signal(SIGPIPE, SIG_IGN);
    json_set_alloc_funcs(mem_alloc, mem_free); /* jansson goes astray without memory */
    if (ctl_parse(argc, argv, &c.p, &e) != 0) {
        ctl_parsed_fini(&c.p);
        return ctl_say(CTL_USAGE, "%s", e.text);
    }
    switch (c.p.what) {
    case CTL_HELP:
        ctl_print_help(&c.p, stdout);
        break;
    case CTL_VERSION:
        printf("musterctl %s\n", muster_version());
        break;
    case CTL_MAN:
        ctl_print_man(stdout);
        break;
    case CTL_RUN:
        rc = run(&c);
        break;
    }
    ctl_parsed_fini(&c.p);
    c.out.f = stdout;
    return ctl_out_flush(&c.out) == 0 ? rc : CTL_FAILED;
}
