/* server/rpc/deadlock.c - turns off a check of Debian's build of the core that only its makers
 * need.
 *
 * absl, in builds with assertions, looks at every lock that is taken for a cycle with the others.
 * That took a twentieth of a small call. It has a switch, which is C++: its name is looked up, so
 * that no C++ is compiled or linked for one call. Where it has another name nothing happens.
 */
#include <dlfcn.h>

#include "server/rpc/internal.h"

/* absl::SetMutexDeadlockDetectionMode(absl::OnDeadlockCycle), in absl 20220623 as Debian names it.
 */
static const char name[] = "_ZN4absl7debian329SetMutexDeadlockDetectionModeENS0_15OnDeadlockCycleE";

void rpc_deadlock_check_off(void)
{
    enum { IGNORE = 0 }; /* absl::OnDeadlockCycle::kIgnore */
    void (*set_mode)(int mode);

    *(void **)&set_mode = dlsym(RTLD_DEFAULT, name);
    if (set_mode != NULL)
        set_mode(IGNORE);
}
