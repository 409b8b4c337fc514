/* tests/fuzz/gate_frames_fuzz.c - any bytes may come from a client and from the core; the scan
 * finds the same frames however they are cut, and the budget holds no more than it may.
 *
 * The first byte says how the rest is cut into pieces; every other piece comes from the core.
 */
#include <stdlib.h>
#include <string.h>

#include "server/gate/budget.h"
#include "server/gate/frame.h"
#include "server/gate/proxy.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

/* A sum over the headers of all frames. */
static uint64_t scan_in_pieces(const uint8_t *bytes, size_t size, size_t piece)
{
    gate_scan scan = {0};
    gate_frame frame;
    uint64_t sum = 0;

    for (size_t at = 0; at < size; at += piece) {
        size_t end = size - at < piece ? size : at + piece;
        for (size_t now = at; now < end;) {
            bool is_frame;
            size_t taken = gate_scan_next(&scan, bytes + now, end - now, &frame, &is_frame);
            if (taken == 0 || taken > end - now)
                abort();
            now += taken;
            if (is_frame)
                sum = sum * 31 + frame.type + frame.flags + frame.length + frame.stream;
        }
    }
    return sum * 31 + gate_scan_missing(&scan);
}

static void budget_run(const uint8_t *bytes, size_t size, size_t piece)
{
    gate_scan scans[2] = {{0}, {0}};
    gate_budget budget = {0};
    gate_limits limits;
    gate_frame frame;
    int64_t now_us = 0;

    gate_limits_init(&limits);
    limits.streams = 8;
    for (size_t at = 0, n = 0; at < size; n++) {
        size_t end = size - at < piece ? size : at + piece;
        while (at < end) {
            gate_breach breach = GATE_FINE;
            bool is_frame, is_reset;
            at += gate_scan_next(&scans[n % 2], bytes + at, end - at, &frame, &is_frame);
            if (is_frame && n % 2 == 0)
                breach = gate_budget_client_frame(&budget, &limits, &frame, now_us, &is_reset);
            else if (is_frame)
                breach = gate_budget_server_frame(&budget, &limits, &frame, now_us, &is_reset);
            if (budget.streams.n > limits.streams || gate_breach_name(breach) == NULL)
                abort();
            now_us += 1000;
        }
    }
    gate_budget_free(&budget);
}

static void proxy_run(const uint8_t *bytes, size_t size)
{
    gate_address client = {0};
    size_t taken;
    gate_proxy_result result = gate_proxy_parse(bytes, size, &taken, &client);
    char text[GATE_ADDRESS_TEXT_SIZE];

    if (result == GATE_PROXY_MORE ? taken <= size : result != GATE_PROXY_BAD && taken > size)
        abort();
    gate_address_format(&client, text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    proxy_run(bytes, size);
    if (size < 2)
        return 0;
    if (scan_in_pieces(bytes + 1, size - 1, size) !=
        scan_in_pieces(bytes + 1, size - 1, 1 + bytes[0]))
        abort();
    budget_run(bytes + 1, size - 1, 1 + bytes[0]);
    return 0;
}
