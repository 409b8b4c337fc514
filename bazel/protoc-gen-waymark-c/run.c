/* protoc-gen-waymark-c/run.c - running protoc-gen-c on a request of ours.
 *
 * A plugin reads its whole request before it writes, but nothing says that it must: the request
 * lies in a file without a name, so that only one pipe is open and neither side can wait for the
 * other.
 */
#include "bazel/protoc-gen-waymark-c/run.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bazel/protoc-gen-waymark-c/memory.h"

typedef Google__Protobuf__Compiler__CodeGeneratorRequest request_type;
typedef Google__Protobuf__Compiler__CodeGeneratorResponse response_type;

extern char **environ;

static void say(char **error, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    *error = format_list(fmt, args);
    va_end(args);
}

uint8_t *run_read_all(FILE *in, size_t *size)
{
    size_t room = 1u << 16, got;
    uint8_t *bytes = malloc(room), *more;

    *size = 0;
    while (bytes && (got = fread(bytes + *size, 1, room - *size, in)) > 0) {
        *size += got;
        if (*size < room)
            continue;
        more = realloc(bytes, room *= 2);
        if (!more)
            free(bytes);
        bytes = more;
    }
    if (bytes && ferror(in)) {
        free(bytes);
        return NULL;
    }
    return bytes;
}

/* The request in a file, ready to be read. */
static FILE *make_input(const request_type *request)
{
    size_t size = google__protobuf__compiler__code_generator_request__get_packed_size(request);
    uint8_t *bytes = malloc(size + 1);
    FILE *file = tmpfile();
    bool written;

    if (!bytes)
        abort();
    google__protobuf__compiler__code_generator_request__pack(request, bytes);
    written = file && fwrite(bytes, 1, size, file) == size && fflush(file) == 0;
    free(bytes);
    if (file && (!written || lseek(fileno(file), 0, SEEK_SET) != 0)) {
        fclose(file);
        return NULL;
    }
    return file;
}

/* Starts it with `input` and with its output in *output; an errno. */
static int start(const char *program, FILE *input, int *output, pid_t *pid)
{
    posix_spawn_file_actions_t actions;
    char *argv[] = {(char *)program, NULL};
    int ends[2], status;

    if (pipe2(ends, O_CLOEXEC) != 0)
        return errno;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, fileno(input), STDIN_FILENO);
    posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
    status = posix_spawnp(pid, program, &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    close(ends[1]);
    *output = ends[0];
    if (status != 0)
        close(ends[0]);
    return status;
}

static response_type *read_response(int output)
{
    FILE *in = fdopen(output, "r");
    response_type *response = NULL;
    uint8_t *bytes;
    size_t size;

    if (!in)
        abort();
    bytes = run_read_all(in, &size);
    fclose(in);
    if (bytes)
        response = google__protobuf__compiler__code_generator_response__unpack(NULL, size, bytes);
    free(bytes);
    return response;
}

response_type *run_plugin(const char *program, const request_type *request, char **error)
{
    FILE *input = make_input(request);
    response_type *response;
    int output = -1, status;
    pid_t pid;

    if (!input) {
        say(error, "the request of %s cannot be written to a file: %s", program, strerror(errno));
        return NULL;
    }
    status = start(program, input, &output, &pid);
    fclose(input);
    if (status != 0) {
        say(error, "cannot run %s, which makes the messages: %s (Debian: protobuf-c-compiler)",
            program, strerror(status));
        return NULL;
    }
    response = read_response(output);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (response && status == 0)
        return response;
    say(error, "%s failed", program);
    if (response)
        google__protobuf__compiler__code_generator_response__free_unpacked(response, NULL);
    return NULL;
}
