/* base/grpc_security.h - the core's credentials, wherever its release declares them.
 *
 * For server/rpc and client/ alone, which call the core; nothing of base/ includes this. The
 * packaged core is 1.51; `./dev lint` compiles both also against the headers of a newer one.
 */
#ifndef WAYMARK_BASE_GRPC_SECURITY_H
#define WAYMARK_BASE_GRPC_SECURITY_H

#include <grpc/grpc_security.h>

/* Newer cores declare credentials here, and log to absl, which C cannot redirect. */
#if __has_include(<grpc/credentials.h>)
#include <grpc/credentials.h>
#define GRPC_CORE_HAS_LOG_FUNCTION 0
#else
#define GRPC_CORE_HAS_LOG_FUNCTION 1
#endif

#endif
