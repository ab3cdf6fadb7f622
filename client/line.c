/* SPDX-License-Identifier: Apache-2.0 */
#include "client/line.h"

#include <curl/curl.h>

#include "base/clock.h"
#include "client/client_impl.h"
#include "client/mem.h"

enum {
    IDLE_MAX = 8,
    CHECK_MS = 250, /* how often check() is asked when nothing moves */
};

struct line {
    struct line *next;
    CURLM *multi;
};

static void line_free(struct line *l)
{
    (void)curl_multi_cleanup(l->multi);
    cmem_free(l);
}

muster_status line_open(struct muster *m, struct line **out, struct muster_error *e)
{
    pthread_mutex_lock(&m->lock);
    struct line *l = m->idle;
    if (l != NULL) {
        m->idle = l->next;
        m->n_idle--;
    }
    pthread_mutex_unlock(&m->lock);
    if (l == NULL) {
        l = cmem_zalloc(sizeof(*l));
        if (l == NULL || (l->multi = curl_multi_init()) == NULL) {
            cmem_free(l);
            return status_no_memory(e);
        }
    }
    pthread_mutex_lock(&m->lock);
    l->next = m->busy;
    m->busy = l;
    pthread_mutex_unlock(&m->lock);
    *out = l;
    return MUSTER_OK;
}

void line_close(struct muster *m, struct line *l)
{
    pthread_mutex_lock(&m->lock);
    struct line **at = &m->busy;
    while (*at != l) {
        at = &(*at)->next;
    }
    *at = l->next;
    bool is_kept = m->n_idle < IDLE_MAX;
    if (is_kept) {
        l->next = m->idle;
        m->idle = l;
        m->n_idle++;
    }
    pthread_cond_broadcast(&m->changed);
    pthread_mutex_unlock(&m->lock);
    if (!is_kept) {
        line_free(l);
    }
}

static bool has_ended(struct line *l, int *out_code)
{
    int left = 0;
    CURLMsg *msg = curl_multi_info_read(l->multi, &left);
    if (msg == NULL || msg->msg != CURLMSG_DONE) {
        return false;
    }
    *out_code = (int)msg->data.result;
    return true;
}

int line_transfer(struct line *l, void *easy, int (*check)(void *arg), void *arg, int *out_code)
{
    int rc = 0;
    int code = CURLE_OUT_OF_MEMORY;
    if (curl_multi_add_handle(l->multi, easy) != CURLM_OK) {
        *out_code = code;
        return 0;
    }
    for (;;) {
        int n_running = 0;
        if (curl_multi_perform(l->multi, &n_running) != CURLM_OK) {
            break;
        }
        if (has_ended(l, &code) || (rc = check(arg)) != 0) {
            break;
        }
        (void)curl_multi_poll(l->multi, NULL, 0, CHECK_MS, NULL);
    }
    (void)curl_multi_remove_handle(l->multi, easy);
    *out_code = code;
    return rc;
}

void line_sleep(struct line *l, int64_t until)
{
    int64_t left = until - clock_mono_ms();
    if (left > 0) {
        (void)curl_multi_poll(l->multi, NULL, 0, left < 1000 ? (int)left : 1000, NULL);
    }
}

void line_wake_all(struct muster *m)
{
    pthread_mutex_lock(&m->lock);
    while (m->busy != NULL) {
        for (struct line *l = m->busy; l != NULL; l = l->next) {
            (void)curl_multi_wakeup(l->multi);
        }
        pthread_cond_wait(&m->changed, &m->lock);
    }
    pthread_mutex_unlock(&m->lock);
}

void line_free_all(struct muster *m)
{
    for (struct line *l = m->idle; l != NULL;) {
        struct line *next = l->next;
        line_free(l);
        l = next;
    }
    m->idle = NULL;
}
