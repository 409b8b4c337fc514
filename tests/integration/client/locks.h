// tests/integration/client/locks.h - sees a thread's locks: a program that links this has its own
// pthread_mutex_lock(). Not under ThreadSanitizer, which has one as well.
#ifndef WAYMARK_TESTS_CLIENT_LOCKS_H
#define WAYMARK_TESTS_CLIENT_LOCKS_H

#include <functional>

#define WAYMARK_TESTS_SEE_LOCKS 1
#if defined(__SANITIZE_THREAD__)
#undef WAYMARK_TESTS_SEE_LOCKS
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#undef WAYMARK_TESTS_SEE_LOCKS
#endif
#endif

namespace waymark_test {

// From now on this runs before each lock that this thread takes; an empty one ends it.
void BeforeLocks(std::function<void()> run);
// How many locks of this thread were refused since: of a mutex that is no more, for example.
int RefusedLocks();

} // namespace waymark_test

#endif
