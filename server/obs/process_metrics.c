/* server/obs/process_metrics.c - see process_metrics.h.
 *
 * What cannot be read is left out rather than shown as zero.
 */
#include "server/obs/process_metrics.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

enum {
    BUILD_INFO,
    CPU_SECONDS,
    RESIDENT_BYTES,
    VIRTUAL_BYTES,
    OPEN_FDS,
    MAX_FDS,
    THREADS,
    START_TIME,
    STAT_SIZE = 1024,
    /* Fields of /proc/self/stat after the name, from 0 (proc(5) counts from 3 there). */
    STAT_THREADS = 17,
    STAT_START = 19,
    STAT_VIRTUAL = 20,
    STAT_RESIDENT = 21
};

static const obs_family families[] = {
    [BUILD_INFO] = {"waymark_build_info", OBS_GAUGE, "1; its label is the release."},
    [CPU_SECONDS] = {"process_cpu_seconds", OBS_COUNTER, "User and system CPU time."},
    [RESIDENT_BYTES] = {"process_resident_memory_bytes", OBS_GAUGE, "Memory in RAM."},
    [VIRTUAL_BYTES] = {"process_virtual_memory_bytes", OBS_GAUGE, "Address space in use."},
    [OPEN_FDS] = {"process_open_fds", OBS_GAUGE, "Open file descriptors."},
    [MAX_FDS] = {"process_max_fds", OBS_GAUGE, "The limit of open file descriptors."},
    [THREADS] = {"process_threads", OBS_GAUGE, "Threads."},
    [START_TIME] = {"process_start_time_seconds", OBS_GAUGE,
                    "When the process began, in seconds since 1970."},
};

static double started; /* seconds since 1970; 0: not known */

static bool file_read(const char *path, char *text, size_t size)
{
    FILE *file = fopen(path, "re");
    size_t n;

    if (file == NULL)
        return false;
    n = fread(text, 1, size - 1, file);
    fclose(file);
    text[n] = '\0';
    return n > 0;
}

/* A number of /proc/self/stat; the name before them may hold blanks and brackets. */
static bool stat_field(unsigned field, double *value)
{
    char text[STAT_SIZE], *at;

    if (!file_read("/proc/self/stat", text, sizeof(text)))
        return false;
    at = strrchr(text, ')');
    for (unsigned i = 0; at != NULL && i <= field; i++)
        at = strchr(at + 1, ' ');
    if (at == NULL)
        return false;
    *value = strtod(at, NULL);
    return true;
}

static void write_stat(obs_page *page, unsigned field, double factor)
{
    double value;

    if (stat_field(field, &value))
        obs_sample_real(page, NULL, 0, value * factor);
}

/* /proc counts from the machine's start; asked once, since the difference of two clocks trembles.
 */
static double start_time(void)
{
    struct timespec now, up;
    double ticks;

    if (!stat_field(STAT_START, &ticks) || clock_gettime(CLOCK_REALTIME, &now) != 0 ||
        clock_gettime(CLOCK_BOOTTIME, &up) != 0)
        return 0;
    return (double)(now.tv_sec - up.tv_sec) + (double)(now.tv_nsec - up.tv_nsec) / 1e9 +
           ticks / (double)sysconf(_SC_CLK_TCK);
}

static void write_cpu(obs_page *page)
{
    struct rusage usage;

    if (getrusage(RUSAGE_SELF, &usage) == 0)
        obs_sample_real(page, NULL, 0,
                        (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                            (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6);
}

static void write_open_fds(obs_page *page)
{
    DIR *dir = opendir("/proc/self/fd");
    uint64_t n = 0;

    if (dir == NULL)
        return;
    for (const struct dirent *entry; (entry = readdir(dir)) != NULL;)
        n += entry->d_name[0] != '.';
    closedir(dir);
    obs_sample(page, NULL, 0, n - 1); /* without the one that looks */
}

static void write_max_fds(obs_page *page)
{
    struct rlimit limit;

    if (getrlimit(RLIMIT_NOFILE, &limit) == 0)
        obs_sample(page, NULL, 0, limit.rlim_cur);
}

static void process_write(void *ctx, size_t family, obs_page *page)
{
    const obs_label version = {"version", ctx};

    switch (family) {
    case BUILD_INFO:
        obs_sample(page, &version, 1, 1);
        return;
    case CPU_SECONDS:
        write_cpu(page);
        return;
    case RESIDENT_BYTES:
        write_stat(page, STAT_RESIDENT, (double)sysconf(_SC_PAGESIZE));
        return;
    case VIRTUAL_BYTES:
        write_stat(page, STAT_VIRTUAL, 1);
        return;
    case OPEN_FDS:
        write_open_fds(page);
        return;
    case MAX_FDS:
        write_max_fds(page);
        return;
    case THREADS:
        write_stat(page, STAT_THREADS, 1);
        return;
    case START_TIME:
        if (started > 0)
            obs_sample_real(page, NULL, 0, started);
    }
}

void obs_process_add(obs_metrics *metrics, const char *version)
{
    const obs_source source = {.families = families,
                               .n_families = WM_ARRAY_LEN(families),
                               .write = process_write,
                               .ctx = (void *)version};

    started = start_time();
    obs_metrics_add(metrics, &source);
}
