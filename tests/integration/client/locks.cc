#include "tests/integration/client/locks.h"

#include <dlfcn.h>
#include <pthread.h>

#include <utility>

namespace waymark_test {
namespace {

thread_local std::function<void()> *before;
thread_local int refused;

} // namespace

void BeforeLocks(std::function<void()> run)
{
    delete std::exchange(before, nullptr);
    refused = 0;
    if (run)
        before = new std::function<void()>(std::move(run));
}

int RefusedLocks()
{
    return refused;
}

#ifdef WAYMARK_TESTS_SEE_LOCKS
// Called by whatever this thread locks, but not for what `before` itself locks.
extern "C" int pthread_mutex_lock(pthread_mutex_t *mutex) noexcept
{
    using lock_function = int (*)(pthread_mutex_t *);
    static const auto lock =
        reinterpret_cast<lock_function>(dlsym(RTLD_NEXT, "pthread_mutex_lock"));
    if (before == nullptr)
        return lock(mutex);
    auto *run = std::exchange(before, nullptr);
    (*run)();
    before = run;
    int code = lock(mutex);
    refused += code != 0;
    return code;
}
#endif

} // namespace waymark_test
