/* tests/bench/h2_load.c - a load generator for unary calls that costs little beside the server.
 *
 *   h2_load --port PORT --path /package.Service/Method [--in_flight N] [--connections N]
 *           [--seconds S] [--warmup S] [--pid PID] [--header NAME VALUE]...
 *
 * A gRPC client spends as much CPU on a call as the server, so that a comparison of servers would
 * measure it too. This one knows only what such a run needs: every request is the same bytes but
 * for the stream's number, of answers it reads the frame headers. An answer is good when it has
 * DATA; a refusal (trailers alone) stops the run. It keeps a number of calls in flight, spread over
 * its connections: each that ends starts the next. Whatever one read brought is answered by one
 * write, as clients do that wait for many calls at a time.
 *
 * Prints one line of JSON. The request is the empty message.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tests/bench/histogram.h"

enum {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_RST_STREAM = 3,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW_UPDATE = 8,
    FLAG_ACK = 1,
    FLAG_END_STREAM = 1,
    FLAG_END_HEADERS = 4,
    FRAME_HEAD_SIZE = 9,
    MESSAGE_SIZE = 5, /* an empty message with its prefix */
    HEADERS_MAX = 8,
    FIELDS_SIZE_MAX = 4096,
    CONNECTIONS_MAX = 256,
    IN_SIZE = 64 * 1024,
    OUT_SIZE = 256 * 1024,
    STARTS_MAX = 65536, /* streams from the oldest to the newest in flight, a power of two */
    WINDOW_START = 65535,
    WINDOW_MORE = 1 << 30, /* what a connection lets the server send */
    TABLE_FIRST = 62       /* HPACK's dynamic table begins here */
};

typedef struct field {
    const char *name, *value;
} field;

typedef struct connection {
    int fd;
    uint32_t next_stream;
    int64_t window;       /* bytes of DATA that the server takes */
    int64_t received;     /* bytes of DATA since our last WINDOW_UPDATE */
    unsigned waiting;     /* calls that wait for the window */
    uint64_t data_frames; /* that have come */
    uint64_t ended;       /* calls */
    size_t in_len, out_len;
    int64_t starts_ns[STARTS_MAX];
    uint8_t in[IN_SIZE], out[OUT_SIZE];
} connection;

static struct {
    int port, pid;
    unsigned in_flight, n_connections;
    double seconds, warmup_s;
    field fields[HEADERS_MAX + 6];
    size_t n_fields;
    bool measuring;
    histogram latencies;
    uint64_t calls;
    connection *connections[CONNECTIONS_MAX];
} load = {.in_flight = 64, .n_connections = 1, .seconds = 2, .warmup_s = 0.5};

static _Noreturn void fail(const char *what)
{
    fprintf(stderr, "h2_load: %s\n", what);
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

/* The CPU that a process has used, user and system, in microseconds; 0 without one. */
static double process_cpu_us(int pid)
{
    unsigned long user = 0, kernel = 0;
    char path[64], line[1024], *rest;
    FILE *file;

    snprintf(path, sizeof(path), "/proc/%d/stat", pid);
    file = pid > 0 ? fopen(path, "r") : NULL;
    if (file == NULL)
        return 0;
    if (fgets(line, sizeof(line), file) != NULL && (rest = strrchr(line, ')')) != NULL)
        sscanf(rest, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu", &user, &kernel);
    fclose(file);
    return (double)(user + kernel) * 1e6 / (double)sysconf(_SC_CLK_TCK);
}

/* ---- frames ---- */

static uint8_t *out_add(connection *c, size_t size)
{
    uint8_t *place = c->out + c->out_len;

    if (c->out_len + size > OUT_SIZE)
        fail("the server reads nothing");
    c->out_len += size;
    return place;
}

static void put_u32(uint8_t *at, uint32_t value)
{
    value = htonl(value);
    memcpy(at, &value, sizeof(value));
}

static uint32_t get_u32(const uint8_t *at)
{
    uint32_t value;

    memcpy(&value, at, sizeof(value));
    return ntohl(value);
}

/* Adds a frame's head; the caller fills `size` bytes. */
static uint8_t *frame_add(connection *c, size_t size, uint8_t type, uint8_t flags, uint32_t stream)
{
    uint8_t *head = out_add(c, FRAME_HEAD_SIZE + size);

    put_u32(head, (uint32_t)size << 8 | type);
    head[4] = flags;
    put_u32(head + 5, stream);
    return head + FRAME_HEAD_SIZE;
}

static void window_update(connection *c)
{
    put_u32(frame_add(c, 4, FRAME_WINDOW_UPDATE, 0, 0), WINDOW_MORE);
    c->received = 0;
}

/* A string of HPACK, not compressed. */
static size_t put_string(uint8_t *at, const char *text)
{
    size_t len = strlen(text), n = 0;

    if (len < 127) {
        at[n++] = (uint8_t)len;
    } else {
        size_t rest = len - 127;
        for (at[n++] = 127; rest >= 128; rest >>= 7)
            at[n++] = (uint8_t)(rest | 128);
        at[n++] = (uint8_t)rest;
    }
    memcpy(at + n, text, len);
    return n + len;
}

/* The first request of a connection puts its fields into the server's table; later ones name them
 * by number, as every client does. */
static size_t put_fields(uint8_t *at, bool is_first)
{
    size_t n = 0;

    at[n++] = 0x83; /* :method POST */
    at[n++] = 0x86; /* :scheme http */
    for (size_t i = 0; i < load.n_fields; i++) {
        if (is_first) {
            at[n++] = 0x40;
            n += put_string(at + n, load.fields[i].name);
            n += put_string(at + n, load.fields[i].value);
        } else {
            at[n++] = (uint8_t)(0x80 | (TABLE_FIRST + load.n_fields - 1 - i));
        }
    }
    return n;
}

static void call_start(connection *c, int64_t at_ns)
{
    static uint8_t fields[FIELDS_SIZE_MAX];
    uint32_t stream = c->next_stream;
    size_t size;

    if (c->window < MESSAGE_SIZE) {
        c->waiting++;
        return;
    }
    size = put_fields(fields, stream == 1);
    memcpy(frame_add(c, size, FRAME_HEADERS, FLAG_END_HEADERS, stream), fields, size);
    memset(frame_add(c, MESSAGE_SIZE, FRAME_DATA, FLAG_END_STREAM, stream), 0, MESSAGE_SIZE);
    c->window -= MESSAGE_SIZE;
    c->starts_ns[stream / 2 % STARTS_MAX] = at_ns;
    c->next_stream += 2;
}

static void call_ended(connection *c, uint32_t stream, int64_t at_ns)
{
    if (++c->ended > c->data_frames)
        fail("a call was refused");
    if (load.measuring) {
        load.calls++;
        histogram_add(&load.latencies, at_ns - c->starts_ns[stream / 2 % STARTS_MAX]);
    }
    call_start(c, at_ns);
}

static void window_grown(connection *c, uint32_t more, int64_t at_ns)
{
    unsigned n = c->waiting;

    c->window += more;
    c->waiting = 0;
    while (n-- > 0)
        call_start(c, at_ns);
}

static void frame_read(connection *c, const uint8_t *frame, size_t size, int64_t at_ns)
{
    uint8_t type = frame[3], flags = frame[4];
    uint32_t stream = get_u32(frame + 5);
    const uint8_t *payload = frame + FRAME_HEAD_SIZE;

    switch (type) {
    case FRAME_DATA:
        c->data_frames++;
        c->received += (int64_t)size;
        if (c->received > WINDOW_MORE / 2)
            window_update(c);
        break;
    case FRAME_SETTINGS:
        if (!(flags & FLAG_ACK))
            frame_add(c, 0, FRAME_SETTINGS, FLAG_ACK, 0);
        break;
    case FRAME_PING:
        if (!(flags & FLAG_ACK))
            memcpy(frame_add(c, 8, FRAME_PING, FLAG_ACK, 0), payload, 8);
        break;
    case FRAME_WINDOW_UPDATE:
        if (stream == 0)
            window_grown(c, get_u32(payload), at_ns);
        break;
    case FRAME_RST_STREAM:
    case FRAME_GOAWAY:
        fail("the server broke off");
    default:
        break;
    }
    if ((type == FRAME_DATA || type == FRAME_HEADERS) && (flags & FLAG_END_STREAM))
        call_ended(c, stream, at_ns);
}

/* ---- connections ---- */

static void connection_flush(connection *c)
{
    size_t sent = 0;

    while (sent < c->out_len) {
        ssize_t n = send(c->fd, c->out + sent, c->out_len - sent, MSG_NOSIGNAL);
        if (n < 0)
            fail("the server has gone");
        sent += (size_t)n;
    }
    c->out_len = 0;
}

static void connection_read(connection *c)
{
    ssize_t n = recv(c->fd, c->in + c->in_len, IN_SIZE - c->in_len, MSG_DONTWAIT);
    int64_t at_ns = now_ns();
    size_t done = 0;

    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0)
        fail("the server has gone");
    c->in_len += (size_t)n;
    while (c->in_len - done >= FRAME_HEAD_SIZE) {
        size_t size = get_u32(c->in + done) >> 8;
        if (c->in_len - done < FRAME_HEAD_SIZE + size)
            break;
        frame_read(c, c->in + done, size, at_ns);
        done += FRAME_HEAD_SIZE + size;
    }
    memmove(c->in, c->in + done, c->in_len - done);
    c->in_len -= done;
    connection_flush(c);
}

static connection *connection_new(void)
{
    static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load.port)};
    connection *c = calloc(1, sizeof(*c));
    int on = 1;

    if (c == NULL)
        fail("no memory");
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    c->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (c->fd < 0 || connect(c->fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        fail("cannot connect");
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    c->next_stream = 1;
    c->window = WINDOW_START;
    memcpy(out_add(c, sizeof(preface) - 1), preface, sizeof(preface) - 1);
    frame_add(c, 0, FRAME_SETTINGS, 0, 0);
    window_update(c);
    return c;
}

static void run_for(double seconds)
{
    struct pollfd polled[CONNECTIONS_MAX];
    int64_t until_ns = now_ns() + (int64_t)(seconds * 1e9);

    for (unsigned i = 0; i < load.n_connections; i++)
        polled[i] = (struct pollfd){.fd = load.connections[i]->fd, .events = POLLIN};
    while (now_ns() < until_ns) {
        if (poll(polled, load.n_connections, 1000) == 0)
            fail("no answer for a second");
        for (unsigned i = 0; i < load.n_connections; i++)
            if (polled[i].revents != 0)
                connection_read(load.connections[i]);
    }
}

static void run(void)
{
    double server_us, client_us, seconds;
    int64_t begin_ns;

    for (unsigned i = 0; i < load.n_connections; i++)
        load.connections[i] = connection_new();
    for (unsigned i = 0; i < load.in_flight; i++)
        call_start(load.connections[i % load.n_connections], now_ns());
    for (unsigned i = 0; i < load.n_connections; i++)
        connection_flush(load.connections[i]);
    run_for(load.warmup_s);
    server_us = process_cpu_us(load.pid);
    client_us = process_cpu_us(getpid());
    begin_ns = now_ns();
    load.measuring = true;
    run_for(load.seconds);
    seconds = (double)(now_ns() - begin_ns) / 1e9;
    server_us = process_cpu_us(load.pid) - server_us;
    client_us = process_cpu_us(getpid()) - client_us;
    if (load.calls == 0)
        fail("no call ended");
    printf("{\"per_s\": %.1f, \"p50_us\": %.1f, \"p99_us\": %.1f, \"cpu_server_us_per_op\": %.2f"
           ", \"cpu_client_us_per_op\": %.2f}\n",
           (double)load.calls / seconds, histogram_us(&load.latencies, 0.5),
           histogram_us(&load.latencies, 0.99), server_us / (double)load.calls,
           client_us / (double)load.calls);
}

/* ---- the command line ---- */

static bool add_field(const char *name, const char *value)
{
    if (load.n_fields >= sizeof(load.fields) / sizeof(load.fields[0]) ||
        strlen(value) > FIELDS_SIZE_MAX / 2)
        return false;
    load.fields[load.n_fields++] = (field){name, value};
    return true;
}

static bool option(const char *name, const char *value)
{
    if (strcmp(name, "--port") == 0)
        load.port = atoi(value);
    else if (strcmp(name, "--path") == 0)
        load.fields[0].value = value;
    else if (strcmp(name, "--in_flight") == 0)
        load.in_flight = (unsigned)atoi(value);
    else if (strcmp(name, "--connections") == 0)
        load.n_connections = (unsigned)atoi(value);
    else if (strcmp(name, "--seconds") == 0)
        load.seconds = atof(value);
    else if (strcmp(name, "--warmup") == 0)
        load.warmup_s = atof(value);
    else if (strcmp(name, "--pid") == 0)
        load.pid = atoi(value);
    else
        return false;
    return true;
}

static bool options_read(int argc, char **argv)
{
    add_field(":path", "");
    add_field(":authority", "localhost");
    add_field("te", "trailers");
    add_field("content-type", "application/grpc");
    add_field("user-agent", "h2_load");
    add_field("grpc-accept-encoding", "identity");
    for (int i = 1; i < argc; i += 2) {
        if (strcmp(argv[i], "--header") == 0 && i + 2 < argc) {
            if (!add_field(argv[i + 1], argv[i + 2]))
                return false;
            i++;
        } else if (i + 1 >= argc || !option(argv[i], argv[i + 1])) {
            return false;
        }
    }
    return load.port > 0 && load.fields[0].value[0] == '/' && load.in_flight > 0 &&
           load.in_flight < STARTS_MAX / 2 && load.n_connections > 0 &&
           load.n_connections <= CONNECTIONS_MAX && load.seconds > 0;
}

int main(int argc, char **argv)
{
    if (!options_read(argc, argv)) {
        fprintf(stderr, "usage: h2_load --port PORT --path /package.Service/Method [--in_flight N]"
                        " [--connections N]\n               [--seconds S] [--warmup S] [--pid PID]"
                        " [--header NAME VALUE]...\n");
        return 2;
    }
    run();
    return 0;
}
