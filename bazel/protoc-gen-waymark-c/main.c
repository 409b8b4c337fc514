/* protoc-gen-waymark-c/main.c - the plugin: a request on standard input, a response on
 * standard output.
 *
 * What is wrong with the protos travels in the response, as protoc wants it; only a broken
 * pipe or a request that does not parse makes the program fail.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bazel/protoc-gen-waymark-c/generate.h"

static void die(const char *what, const char *why)
{
    fprintf(stderr, "protoc-gen-waymark-c: %s: %s\n", what, why);
    exit(1);
}

static uint8_t *read_all(FILE *in, size_t *size)
{
    size_t room = 1u << 16, got;
    uint8_t *bytes = malloc(room);

    *size = 0;
    while (bytes) {
        got = fread(bytes + *size, 1, room - *size, in);
        if (got == 0)
            break;
        *size += got;
        if (*size == room)
            bytes = realloc(bytes, room *= 2);
    }
    if (!bytes)
        die("the request", "out of memory");
    if (ferror(in))
        die("cannot read the request", strerror(errno));
    return bytes;
}

int main(void)
{
    size_t size;
    uint8_t *bytes = read_all(stdin, &size);
    Google__Protobuf__Compiler__CodeGeneratorRequest *request =
        google__protobuf__compiler__code_generator_request__unpack(NULL, size, bytes);
    Google__Protobuf__Compiler__CodeGeneratorResponse *response;
    uint8_t *packed;

    free(bytes);
    if (!request)
        die("the request", "not a CodeGeneratorRequest; protoc runs this program");

    response = generate(request);
    size = google__protobuf__compiler__code_generator_response__get_packed_size(response);
    packed = malloc(size ? size : 1);
    if (!packed)
        die("the response", "out of memory");
    google__protobuf__compiler__code_generator_response__pack(response, packed);
    if (fwrite(packed, 1, size, stdout) != size || fflush(stdout) != 0)
        die("cannot write the response", strerror(errno));

    free(packed);
    google__protobuf__compiler__code_generator_response__free_unpacked(response, NULL);
    google__protobuf__compiler__code_generator_request__free_unpacked(request, NULL);
    return 0;
}
