/* waymark/credentials.h - where the access tokens of calls come from.
 *
 * Threads: any thread, also the callback (see there).
 * Memory:  credentials are counted: a client keeps its own reference, so they may be freed
 *          right after waymark_client_new(). Texts are copied. Tokens are never logged.
 */
#ifndef WAYMARK_CREDENTIALS_H
#define WAYMARK_CREDENTIALS_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct waymark_credentials waymark_credentials;

/* One token for ever; one that HTTP does not allow ends calls with UNAUTHENTICATED, reason
 * TOKEN_INVALID. White space around it is ignored. */
waymark_credentials *waymark_credentials_token(const char *token);

/* The token in a file, read again when the file's time or size changes (looked at once a
 * second at most). White space around it is ignored. While it cannot be read, calls end with
 * UNAUTHENTICATED and reason TOKEN_FILE_UNREADABLE. */
waymark_credentials *waymark_credentials_file(const char *path);

/* Asks fetch() for a token when one is needed: before the first call, when the last one's
 * lifetime nears its end, and after a call ended with UNAUTHENTICATED (a unary call, or a
 * server stream that has brought nothing, is then repeated once with the new token).
 *
 * - One request is open at a time, however many calls want the token.
 * - A token is renewed when nine tenths of its lifetime are over, a little earlier at random, but
 *   no earlier than a minute before its end. Until it ends calls go on with the old one, and wait
 *   for the new one after that. When renewing fails it is tried again before the end.
 * - Of tokens that the server refuses at most one a second makes it ask again.
 * - After a failure fetch() is not asked again for a while: 100 ms at first, twice as long each
 *   time, at most 10 s. Calls that need a token meanwhile end as the failure said.
 * - A call that waits ends when it is cancelled or its deadline passes; the request stays open.
 *
 * fetch() answers with exactly one waymark_token_give(), waymark_token_fail() or
 * waymark_token_unavailable(), at once or later, from any thread; until then the request keeps the
 * credentials alive. It runs on the thread of a call that needs it and must not block. */
typedef struct waymark_token_request waymark_token_request;
typedef void (*waymark_token_fetch)(void *ctx, waymark_token_request *request);
waymark_credentials *waymark_credentials_callback(waymark_token_fetch fetch, void *ctx);

/* `lifetime_ms`: how long the token may be used from now; 0: until the server refuses it. What is
 * no token (empty, or with characters that HTTP does not allow) counts as waymark_token_fail().
 * Copied. Any thread. */
void waymark_token_give(waymark_token_request *request, const char *token, int64_t lifetime_ms);
/* There will be no token, a secret being wrong for example. Ends the waiting calls with
 * UNAUTHENTICATED, reason TOKEN_FETCH_FAILED. `why` must hold no secret; copied, 159 bytes. Any
 * thread. */
void waymark_token_fail(waymark_token_request *request, const char *why);
/* The issuer cannot be reached now. Ends the waiting calls with UNAVAILABLE, reason
 * TOKEN_ISSUER_UNAVAILABLE. `retry_after_ms` (0: unknown) is how long not to ask again, in
 * milliseconds. Any thread. */
void waymark_token_unavailable(waymark_token_request *request, const char *why,
                               int64_t retry_after_ms);

/* Gives up one reference; the last one forgets the token. NULL is fine. Any thread. */
void waymark_credentials_free(waymark_credentials *credentials);

#ifdef __cplusplus
}
#endif
#endif
