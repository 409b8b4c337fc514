/* cel_go/peer.c - cel-go as a child process. See peer.h. */
#include "tests/cel_go/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static _Noreturn void die(const char *what)
{
    fprintf(stderr, "cel_go: %s: %s\n", what, strerror(errno));
    exit(2);
}

static _Noreturn void run_child(const char *program, const char *mode, int in, int out)
{
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    execl(program, program, mode, (char *)NULL);
    die(program);
}

void peer_start(peer *peer, const char *program, const char *mode)
{
    int to[2], from[2];

    memset(peer, 0, sizeof(*peer));
    if (pipe2(to, O_CLOEXEC) != 0 || pipe2(from, O_CLOEXEC) != 0)
        die("pipe");
    peer->pid = fork();
    if (peer->pid < 0)
        die("fork");
    if (peer->pid == 0)
        run_child(program, mode, to[0], from[1]);
    close(to[0]);
    close(from[1]);
    peer->to = fdopen(to[1], "w");
    peer->from = fdopen(from[0], "r");
    if (peer->to == NULL || peer->from == NULL)
        die("fdopen");
}

const char *peer_line(peer *peer)
{
    ssize_t len;

    if (fflush(peer->to) != 0)
        die("the peer takes no more");
    len = getline(&peer->line, &peer->line_room, peer->from);
    if (len <= 0)
        die("the peer has gone");
    if (peer->line[len - 1] == '\n')
        peer->line[len - 1] = 0;
    return peer->line;
}

void peer_stop(peer *peer)
{
    fclose(peer->to);
    fclose(peer->from);
    waitpid(peer->pid, NULL, 0);
    free(peer->line);
}
