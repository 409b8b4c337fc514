/* server/version.h - the release, as CHANGELOG.md names it. */
#ifndef WAYMARK_SERVER_VERSION_H
#define WAYMARK_SERVER_VERSION_H

#define WAYMARK_VERSION "0.1.0"

#endif
