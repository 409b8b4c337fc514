/* tests/unit/generator/presence.c - says which fields of a message are there, for protoc_test.py.
 *
 * Reads records of a length (4 bytes, little endian) and a Presence of so many bytes; prints one
 * line each: the names and values of what is set, and whether packing gives the same message again.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "presence.pb-c.h"

/* A field is set when its case says so, and then its value is printed by `print`. */
#define SET(message, name, NAME) ((message)->_##name##_case == PRESENCE___##NAME##__NOT_SET ? 0 : 1)

static void print_bytes(const char *name, const uint8_t *bytes, size_t size)
{
    printf(" %s=", name);
    for (size_t i = 0; i < size; i++)
        printf("%02x", bytes[i]);
}

static uint64_t bits_of_double(double value)
{
    uint64_t bits;

    memcpy(&bits, &value, sizeof(bits));
    return bits;
}

static void print_message(const Presence *message)
{
    if (SET(message, int32_field, INT32_FIELD))
        printf(" int32_field=%" PRId32, message->int32_field);
    if (SET(message, sint64_field, SINT64_FIELD))
        printf(" sint64_field=%" PRId64, message->sint64_field);
    if (SET(message, fixed32_field, FIXED32_FIELD))
        printf(" fixed32_field=%" PRIu32, message->fixed32_field);
    if (SET(message, float_field, FLOAT_FIELD))
        printf(" float_field=%016" PRIx64, bits_of_double((double)message->float_field));
    if (SET(message, double_field, DOUBLE_FIELD))
        printf(" double_field=%016" PRIx64, bits_of_double(message->double_field));
    if (SET(message, bool_field, BOOL_FIELD))
        printf(" bool_field=%d", message->bool_field);
    if (SET(message, text, TEXT))
        print_bytes("text", (const uint8_t *)message->text, strlen(message->text));
    if (SET(message, raw, RAW))
        print_bytes("raw", message->raw.data, message->raw.len);
    if (SET(message, kind, KIND))
        printf(" kind=%d", (int)message->kind);
    if (SET(message, base, BASE))
        printf(" base=%" PRIu64, message->base_);
    printf(" plain=%" PRId32, message->plain);
    if (SET(message, child, CHILD)) {
        printf(" child={");
        print_message(message->child);
        printf(" }");
    }
}

static void print_packed(const Presence *message)
{
    size_t size = presence__get_packed_size(message);
    uint8_t *bytes = malloc(size + 1);

    if (!bytes)
        abort();
    presence__pack(message, bytes);
    print_bytes("packed", bytes, size);
    free(bytes);
}

int main(void)
{
    uint8_t head[4];
    const ProtobufCFieldDescriptor *base =
        protobuf_c_message_descriptor_get_field_by_name(&presence__descriptor, "base");

    if (!base || base->id != 11)
        return 2; /* a renamed field is found by its own name */
    while (fread(head, 1, sizeof(head), stdin) == sizeof(head)) {
        size_t size = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16;
        uint8_t *bytes = malloc(size + 1);
        Presence *message;

        if (!bytes || fread(bytes, 1, size, stdin) != size)
            return 3;
        message = presence__unpack(NULL, size, bytes);
        free(bytes);
        if (!message)
            return 4;
        print_message(message);
        print_packed(message);
        printf("\n");
        presence__free_unpacked(message, NULL);
    }
    return 0;
}
