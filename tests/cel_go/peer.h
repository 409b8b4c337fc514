/* cel_go/peer.h - cel-go as a child process, told of the variables that all expressions see. */
#ifndef WAYMARK_TESTS_CEL_GO_PEER_H
#define WAYMARK_TESTS_CEL_GO_PEER_H

#include <stdio.h>
#include <sys/types.h>

#include "tests/cel_go/grammar.h"

typedef struct peer {
    FILE *to, *from;
    pid_t pid;
    char *line; /* of peer_line() */
    size_t line_room;
} peer;

/* Starts `program` in `mode`; ends the process with a message when it cannot. */
void peer_start(peer *peer, const char *program, const char *mode);
/* One line of the answer, without its end, until the next call. Ends the process when the peer
 * has gone. */
const char *peer_line(peer *peer);
/* Closes its input and waits for it. */
void peer_stop(peer *peer);

#endif
