/* tests/hostile/attack_bombs.c - little to send that becomes much where it is unpacked. */
#include <stdlib.h>
#include <string.h>

#include "tests/hostile/attack.h"

enum {
    BOMB_SIZE = 64 << 20, /* of zeros, when inflated */
    MATCH_LEN = 258,      /* the longest that deflate has */
    MATCH_BITS = 13,      /* of its code, with a distance of one */
    BLOCK_SIZE = 1 << 20, /* of a block of headers */
    ENTRY_SIZE = 4000,    /* of the header that fills the server's table */
    ENTRY_NAMES = 16000   /* how often a block names it, one byte each */
};

/* ---- gzip ---- */

typedef struct bits {
    wire *out;
    uint32_t pending;
    unsigned n;
} bits;

static void bits_add(bits *bits, uint32_t value, unsigned n)
{
    bits->pending |= value << bits->n;
    for (bits->n += n; bits->n >= 8; bits->n -= 8) {
        uint8_t byte = (uint8_t)bits->pending;
        wire_add(bits->out, &byte, 1);
        bits->pending >>= 8;
    }
}

static uint32_t zeros_crc(size_t n)
{
    uint32_t table[256], crc = 0xffffffff;

    for (uint32_t i = 0; i < 256; i++) {
        table[i] = i;
        for (int bit = 0; bit < 8; bit++)
            table[i] = table[i] & 1 ? table[i] >> 1 ^ 0xedb88320 : table[i] >> 1;
    }
    for (size_t i = 0; i < n; i++)
        crc = table[crc & 255] ^ crc >> 8;
    return ~crc;
}

/* A gzip file of zeros: one literal, then copies of it, in fixed Huffman codes (RFC 1951, 3.2.6).
 */
static void gzip_zeros(wire *out, size_t n_matches)
{
    static const uint8_t header[10] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255};
    uint32_t size = (uint32_t)(1 + n_matches * MATCH_LEN);
    bits bits = {.out = out};
    uint32_t crc = zeros_crc(size);

    wire_add(out, header, sizeof(header));
    bits_add(&bits, 1 | 1 << 1, 3); /* the last block, fixed codes */
    bits_add(&bits, 0x0c, 8);       /* literal 0: 00110000, first bit first */
    for (size_t i = 0; i < n_matches; i++)
        bits_add(&bits, 0xa3, MATCH_BITS); /* length 258: 11000101, then five zeros: distance 1 */
    bits_add(&bits, 0, 7);                 /* the end of the block */
    bits_add(&bits, 0, (8 - bits.n) % 8);
    for (int i = 0; i < 4; i++)
        bits_add(&bits, crc >> 8 * i & 255, 8);
    for (int i = 0; i < 4; i++)
        bits_add(&bits, size >> 8 * i & 255, 8);
}

/* Made once: the program plays one attack. */
static const wire *gzip_bomb(void)
{
    static wire bomb;

    if (bomb.len == 0)
        gzip_zeros(&bomb, BOMB_SIZE / MATCH_LEN);
    return &bomb;
}

static void gzip_bomb_fill(hostile *self)
{
    const wire *bomb = gzip_bomb();
    peer *peer = &self->peer;
    uint32_t stream = peer_new_stream(peer);
    wire block = {0};

    peer_request_block(peer, NULL, &block);
    hpack_literal(&block, "grpc-encoding", "gzip", strlen("gzip"));
    wire_frame(&peer->out, FRAME_HEADERS, FLAG_END_HEADERS, stream, block.data, block.len);
    wire_message(&peer->out, stream, 1, bomb->data, bomb->len, true);
    wire_free(&block);
}

/* ---- headers ---- */

static void block_send(peer *peer, const wire *block)
{
    uint32_t stream = peer_new_stream(peer);
    size_t sent = 0;

    while (sent < block->len) {
        size_t n = block->len - sent < FRAME_SIZE_MAX ? block->len - sent : FRAME_SIZE_MAX;
        uint8_t flags = sent + n == block->len ? FLAG_END_HEADERS : 0;
        wire_frame(&peer->out, sent == 0 ? FRAME_HEADERS : FRAME_CONTINUATION, flags, stream,
                   block->data + sent, n);
        sent += n;
    }
}

static void oversized_headers_fill(hostile *self)
{
    static uint8_t value[BLOCK_SIZE];
    wire block = {0};

    memset(value, 'a', sizeof(value));
    peer_request_block(&self->peer, NULL, &block);
    hpack_literal(&block, "x-large", value, sizeof(value));
    block_send(&self->peer, &block);
    wire_free(&block);
}

/* One entry as large as the server's table, then its index over and over: 64 MB in 16 KB. */
static void hpack_bomb_fill(hostile *self)
{
    static char value[ENTRY_SIZE];
    wire block = {0};

    memset(value, 'a', sizeof(value) - 1);
    /* The entry throws the request's headers out of the table, so they are sent as they are. */
    peer_request_block(&self->peer, self->peer.target->path, &block);
    hpack_remembered(&block, "x", value);
    for (unsigned i = 0; i < ENTRY_NAMES; i++)
        hpack_indexed(&block, 62);
    block_send(&self->peer, &block);
    wire_free(&block);
}

const attack bomb_attacks[] = {
    {.name = "gzip_bomb",
     .summary = "400 KB that inflate to 64 MB, again and again",
     .fill = gzip_bomb_fill},
    {.name = "oversized_headers",
     .summary = "blocks of headers of 1 MB",
     .fill = oversized_headers_fill},
    {.name = "hpack_bomb",
     .summary = "one header of 4 KB, named 16,000 times in each block",
     .fill = hpack_bomb_fill},
    {0},
};
