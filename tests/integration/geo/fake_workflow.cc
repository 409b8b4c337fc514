// The workflow's door, closed: these tests are about geo alone.
#include <cstdlib>

#include "server/workflow/events_in.h"

extern "C" void workflow_events_in(workflow *, store_tx *, wm_arena *, const workflow_event_in *,
                                   size_t, void (*)(void *ctx, store_tx *tx, wm_code code), void *)
{
    abort(); // geo was made without a workflow
}
