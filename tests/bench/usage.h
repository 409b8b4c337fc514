/* tests/bench/usage.h - what the server, PostgreSQL and this program have used so far.
 *
 * Processes are read from /proc; PostgreSQL's counters by libpq, as this is a test program.
 */
#ifndef WAYMARK_BENCH_USAGE_H
#define WAYMARK_BENCH_USAGE_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct usage_source usage_source;

typedef struct usage {
    double server_cpu_us, postgres_cpu_us, client_cpu_us;
    double commits, rows, wal_bytes;
    double server_rss_mb, server_peak_rss_mb;
} usage;

/* The server's process id from `state`/waymarkd.pid; the database from the PG* environment. What
 * is not there is left out. */
usage_source *usage_open(const char *state);
void usage_close(usage_source *source);
bool usage_has_server(const usage_source *source);
bool usage_has_database(const usage_source *source);

void usage_read(usage_source *source, usage *usage);

#ifdef __cplusplus
}
#endif
#endif
