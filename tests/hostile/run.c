/* tests/hostile/run.c - the loop that plays one attack.
 *
 * One thread and poll(): a hostile peer needs little. Connections that the server cuts are opened
 * again after a pause, because an attacker would; each is one sample of how fast the cut came.
 */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/attack.h"

enum {
    CONNECTIONS_DEFAULT = 4,
    OPENS_PER_TURN = 64, /* so that ten thousand do not hold up the rest */
    POLL_MS = 5,
    CUTS_MAX = 65536 /* samples kept */
};

typedef struct run {
    const attack *attack;
    const target *target;
    const attack_options *options;
    attack_report *report;
    unsigned n;
    hostile *peers;
    struct pollfd *polls;
    double *cuts; /* ms */
    size_t n_cuts;
} run;

static void hostile_came(peer *peer, const frame *frame)
{
    hostile *self = peer->owner;

    if (self->attack->came != NULL)
        self->attack->came(self, frame);
}

static void hostile_open(run *run, hostile *self)
{
    memset(self, 0, sizeof(*self));
    self->attack = run->attack;
    peer_open(&self->peer, run->target, run->attack->flags, run->attack->window);
    self->peer.came = hostile_came;
    self->peer.owner = self;
    self->due_us = 0;
    run->report->opened++;
}

/* Adds what a connection did to the report; it is over, or the attack is. */
static void hostile_count(run *run, const hostile *self)
{
    attack_report *report = run->report;

    report->frames += self->peer.frames_sent;
    report->bytes += self->peer.bytes_sent;
    report->streams += self->peer.next_stream / 2;
    report->replies += self->peer.replies;
    report->resets += self->peer.resets;
    if (self->peer.goaway_us > 0) {
        report->goaways++;
        report->goaway_code = self->peer.goaway_code;
    }
}

static void hostile_ended(run *run, hostile *self)
{
    const peer *peer = &self->peer;
    attack_report *report = run->report;

    hostile_count(run, self);
    if (peer->opened_us == 0) {
        report->refused++;
    } else if (peer->cut_us > 0) {
        int64_t from_us = self->breach_us > 0 ? self->breach_us : peer->opened_us;
        report->cut++;
        report->by_reset += peer->was_reset;
        if (run->n_cuts < CUTS_MAX)
            run->cuts[run->n_cuts++] = (double)(peer->cut_us - from_us) / 1000;
    }
    self->due_us = run->options->reconnect_ms < 0
                       ? INT64_MAX
                       : now_us() + (int64_t)run->options->reconnect_ms * 1000;
}

/* Lets the attack go on where it may. */
static void hostile_fill(run *run, hostile *self, int64_t now)
{
    const attack *attack = run->attack;

    if (self->peer.state != PEER_OPEN || self->peer.out.len > 0 || now < self->due_us)
        return;
    if (attack->closes && self->breach_us > 0) {
        peer_close(&self->peer);
        hostile_ended(run, self);
        return;
    }
    if (self->breach_us == 0)
        self->breach_us = now;
    if (attack->fill != NULL)
        attack->fill(self);
    self->due_us = now + (int64_t)attack->pause_ms * 1000;
    peer_flush(&self->peer);
    if (self->peer.state == PEER_CLOSED)
        hostile_ended(run, self);
}

static void run_turn(run *run)
{
    unsigned opens = OPENS_PER_TURN;
    int64_t now = now_us();

    for (unsigned i = 0; i < run->n; i++) {
        hostile *self = &run->peers[i];
        if (self->peer.state == PEER_CLOSED && now >= self->due_us && opens > 0) {
            opens--;
            hostile_open(run, self);
            if (self->peer.state == PEER_CLOSED)
                hostile_ended(run, self);
        }
        hostile_fill(run, self, now);
        run->polls[i].fd = self->peer.state == PEER_CLOSED ? -1 : self->peer.fd;
        run->polls[i].events = peer_events(&self->peer);
    }
    /* Where a fast attack has sent all it had, more is to be sent at once. */
    poll(run->polls, run->n, run->attack->pause_ms > 0 ? POLL_MS : 0);
    for (unsigned i = 0; i < run->n; i++) {
        hostile *self = &run->peers[i];
        if (run->polls[i].fd < 0 || self->peer.state == PEER_CLOSED)
            continue;
        peer_step(&self->peer, run->polls[i].revents);
        if (self->peer.state == PEER_CLOSED)
            hostile_ended(run, self);
    }
}

static int cut_compare(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;

    return (left > right) - (left < right);
}

static void run_finish(run *run)
{
    attack_report *report = run->report;

    for (unsigned i = 0; i < run->n; i++) {
        hostile *self = &run->peers[i];
        if (self->peer.state == PEER_CLOSED)
            continue;
        report->held += self->peer.state == PEER_OPEN;
        peer_close(&self->peer);
        hostile_count(run, self);
    }
    if (run->n_cuts > 0) {
        report->first_cut_ms = run->cuts[0];
        qsort(run->cuts, run->n_cuts, sizeof(run->cuts[0]), cut_compare);
        report->median_cut_ms = run->cuts[run->n_cuts / 2];
        report->max_cut_ms = run->cuts[run->n_cuts - 1];
    }
}

void attack_run(const attack *attack, const target *target, const attack_options *options,
                attack_report *report)
{
    unsigned wanted = attack->connections > 0 ? attack->connections : CONNECTIONS_DEFAULT;
    run run = {.attack = attack, .target = target, .options = options, .report = report};
    int64_t start_us = now_us();

    memset(report, 0, sizeof(*report));
    run.n = report->connections = options->connections > 0 ? options->connections : wanted;
    run.peers = calloc(run.n, sizeof(*run.peers));
    run.polls = calloc(run.n, sizeof(*run.polls));
    run.cuts = calloc(CUTS_MAX, sizeof(*run.cuts));
    if (run.peers == NULL || run.polls == NULL || run.cuts == NULL)
        abort();
    while (now_us() - start_us < (int64_t)(options->seconds * 1e6))
        run_turn(&run);
    report->seconds = (double)(now_us() - start_us) / 1e6;
    run_finish(&run);
    free(run.peers);
    free(run.polls);
    free(run.cuts);
}
