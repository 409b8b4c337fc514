/* base/codec_merge.c - a singular message field that comes more than once becomes one; see
 * codec_merge.h.
 *
 * The specification merges the occurrences, and merging is what reading their contents one after
 * the other does. So the contents are strung together, in order, as one occurrence, at the place
 * of the last. In a oneof only those since the last other member count.
 *
 * Time and memory grow with the size of the message, however often what repeats in it: each
 * occurrence is one piece of a list, and a list is read twice, to find what repeats and to write.
 */
#include "base/codec_merge.h"

#include <string.h>

#include "base/codec.h"
#include "base/codec_wire.h"

enum {
    MERGE_LENGTH_SIZE = 5, /* of the lengths written here, which are not known before the content */
    MERGE_GROWTH_MAX = 3   /* a field of two bytes, tag and length, gets four more */
};

/* The content of one occurrence. */
typedef struct merge_piece merge_piece;
struct merge_piece {
    merge_piece *next;
    const uint8_t *at;
    size_t size;
};

/* The occurrences of one field that become one. */
typedef struct merge_run {
    merge_piece *first, *last;
} merge_run;

typedef struct merger {
    wm_arena *arena;
    uint8_t *at; /* where the next byte goes */
    bool failed;
    /* For each depth a run for each field, used again by the next message of that depth. */
    merge_run *runs[WM_WIRE_DEPTH_MAX + 1];
    unsigned runs_len[WM_WIRE_DEPTH_MAX + 1];
} merger;

static bool is_singular_message(const ProtobufCFieldDescriptor *field)
{
    return field->type == PROTOBUF_C_TYPE_MESSAGE && field->label != PROTOBUF_C_LABEL_REPEATED;
}

/* ---- which belong together ---- */

static merge_run *merge_runs_clear(merger *m, const ProtobufCMessageDescriptor *of, int depth)
{
    if (m->runs_len[depth] < of->n_fields) {
        m->runs[depth] = wm_arena_try(m->arena, of->n_fields * sizeof(merge_run));
        m->runs_len[depth] = m->runs[depth] ? of->n_fields : 0;
    }
    if (m->runs[depth])
        memset(m->runs[depth], 0, of->n_fields * sizeof(merge_run));
    else
        m->failed = true;
    return m->runs[depth];
}

/* A member of a oneof ends the runs of all others. */
static void merge_runs_override(merge_run *runs, const ProtobufCMessageDescriptor *of,
                                const ProtobufCFieldDescriptor *by)
{
    for (unsigned i = 0; i < of->n_fields; i++) {
        const ProtobufCFieldDescriptor *field = &of->fields[i];

        if (field != by && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF) &&
            field->quantifier_offset == by->quantifier_offset)
            runs[i] = (merge_run){NULL, NULL};
    }
}

static void merge_run_add(merger *m, merge_run *run, const codec_item *item)
{
    merge_piece *piece = wm_arena_try(m->arena, sizeof(*piece));

    if (!piece) {
        m->failed = true;
        return;
    }
    *piece = (merge_piece){NULL, item->at, item->size};
    if (run->last)
        run->last->next = piece;
    else
        run->first = piece;
    run->last = piece;
}

/* The runs of one message, which may itself be in several pieces. NULL: it has no singular
 * message fields, or the arena is full. */
static merge_run *merge_find_runs(merger *m, const ProtobufCMessageDescriptor *of,
                                  const merge_piece *pieces, int depth)
{
    merge_run *runs = NULL;

    for (const merge_piece *piece = pieces; piece && !m->failed; piece = piece->next) {
        const uint8_t *at = piece->at, *end = piece->at + piece->size;
        codec_item item;

        while (at < end && codec_read_item(&at, end, &item) == CODEC_READ_OK && !m->failed) {
            const ProtobufCFieldDescriptor *field =
                protobuf_c_message_descriptor_get_field(of, item.id);

            if (field && runs && (field->flags & PROTOBUF_C_FIELD_FLAG_ONEOF))
                merge_runs_override(runs, of, field);
            if (!field || !is_singular_message(field))
                continue;
            if (!runs && !(runs = merge_runs_clear(m, of, depth)))
                return NULL;
            merge_run_add(m, &runs[field - of->fields], &item);
        }
    }
    return runs;
}

/* ---- writing ---- */

static void merge_put(merger *m, const uint8_t *bytes, size_t size)
{
    memcpy(m->at, bytes, size);
    m->at += size;
}

static void merge_put_varint(merger *m, uint32_t value)
{
    for (; value >= 0x80; value >>= 7)
        *m->at++ = (uint8_t)(value | 0x80);
    *m->at++ = (uint8_t)value;
}

/* A length in all its five bytes, so that its place can be kept free. */
static void merge_put_length(uint8_t *at, size_t length)
{
    for (int i = 0; i < MERGE_LENGTH_SIZE - 1; i++)
        at[i] = (uint8_t)(length >> (7 * i) | 0x80);
    at[MERGE_LENGTH_SIZE - 1] = (uint8_t)(length >> (7 * (MERGE_LENGTH_SIZE - 1)));
}

static void merge_message(merger *m, const ProtobufCMessageDescriptor *of,
                          const merge_piece *pieces, int depth);

static void merge_put_message(merger *m, const ProtobufCFieldDescriptor *field,
                              const merge_piece *pieces, int depth)
{
    uint8_t *length;

    merge_put_varint(m, field->id << 3 | PROTOBUF_C_WIRE_TYPE_LENGTH_PREFIXED);
    length = m->at;
    m->at += MERGE_LENGTH_SIZE;
    merge_message(m, field->descriptor, pieces, depth + 1);
    merge_put_length(length, (size_t)(m->at - length) - MERGE_LENGTH_SIZE);
}

/* One field as it came from `start` to `end`, or what became of it. */
static void merge_field(merger *m, const ProtobufCMessageDescriptor *of, const merge_run *runs,
                        const codec_item *item, const uint8_t *start, const uint8_t *end, int depth)
{
    const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(of, item->id);

    if (field && is_singular_message(field)) {
        const merge_run *run = &runs[field - of->fields];

        if (run->last && run->last->at == item->at)
            merge_put_message(m, field, run->first, depth);
    } else if (field && field->type == PROTOBUF_C_TYPE_MESSAGE) {
        merge_piece only = {NULL, item->at, item->size};

        merge_put_message(m, field, &only, depth);
    } else {
        merge_put(m, start, (size_t)(end - start));
    }
}

static void merge_message(merger *m, const ProtobufCMessageDescriptor *of,
                          const merge_piece *pieces, int depth)
{
    const merge_run *runs = merge_find_runs(m, of, pieces, depth);

    for (const merge_piece *piece = pieces; piece && !m->failed; piece = piece->next) {
        const uint8_t *at = piece->at, *end = piece->at + piece->size, *start = at;
        codec_item item;

        for (; at < end && codec_read_item(&at, end, &item) == CODEC_READ_OK; start = at) {
            merge_field(m, of, runs, &item, start, at, depth);
            if (m->failed)
                return;
        }
    }
}

bool codec_merge(wm_arena *arena, const ProtobufCMessageDescriptor *descriptor,
                 const uint8_t **bytes, size_t *size)
{
    merge_piece whole = {NULL, *bytes, *size};
    merger m = {.arena = arena};
    uint8_t *out = wm_arena_try(arena, *size * MERGE_GROWTH_MAX);

    if (!out)
        return false;
    m.at = out;
    merge_message(&m, descriptor, &whole, 1);
    *bytes = out;
    *size = (size_t)(m.at - out);
    return !m.failed;
}
