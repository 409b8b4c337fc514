/* server/gate/streams.c - see streams.h. Open addressing; a removal moves later ones forward, so
 * that there are no graves to step over. Neighbours are spread: side by side they would be one long
 * run, all of which a removal walks through.
 */
#include "server/gate/streams.h"

#include <assert.h>
#include <stdlib.h>

enum { STREAMS_ROOM_FIRST = 16, SPREAD_SHIFT = 12 };

/* Knuth's multiplier; its middle bits are well mixed. */
static const uint32_t SPREAD = 2654435761u;

static uint32_t home_of(const gate_streams *streams, uint32_t id)
{
    return (id * SPREAD) >> SPREAD_SHIFT & (streams->room - 1);
}

static uint32_t slot_after(const gate_streams *streams, uint32_t slot)
{
    return (slot + 1) & (streams->room - 1);
}

/* The slot of the id, or the free one where it would go. */
static uint32_t slot_of(const gate_streams *streams, uint32_t id)
{
    uint32_t slot = home_of(streams, id);

    while (streams->ids[slot] != 0 && streams->ids[slot] != id)
        slot = slot_after(streams, slot);
    return slot;
}

static void grow(gate_streams *streams)
{
    gate_streams old = *streams;

    streams->room = old.room == 0 ? STREAMS_ROOM_FIRST : old.room * 2;
    streams->ids = calloc(streams->room, sizeof(*streams->ids));
    if (streams->ids == NULL)
        abort();
    for (uint32_t i = 0; i < old.room; i++)
        if (old.ids[i] != 0)
            streams->ids[slot_of(streams, old.ids[i])] = old.ids[i];
    free(old.ids);
}

void gate_streams_free(gate_streams *streams)
{
    free(streams->ids);
    *streams = (gate_streams){0};
}

void gate_streams_add(gate_streams *streams, uint32_t id)
{
    uint32_t slot;

    assert(id != 0);
    if (streams->n >= streams->room / 2)
        grow(streams);
    slot = slot_of(streams, id);
    assert(streams->ids[slot] == 0);
    streams->ids[slot] = id;
    streams->n++;
}

bool gate_streams_has(const gate_streams *streams, uint32_t id)
{
    return streams->n > 0 && id != 0 && streams->ids[slot_of(streams, id)] == id;
}

bool gate_streams_remove(gate_streams *streams, uint32_t id)
{
    uint32_t hole, slot;

    if (!gate_streams_has(streams, id))
        return false;
    hole = slot = slot_of(streams, id);
    for (;;) {
        uint32_t from_home;

        slot = slot_after(streams, slot);
        if (streams->ids[slot] == 0)
            break;
        /* May it move into the hole? Only if that does not lie before its home. */
        from_home = (slot - home_of(streams, streams->ids[slot])) & (streams->room - 1);
        if (from_home >= ((slot - hole) & (streams->room - 1))) {
            streams->ids[hole] = streams->ids[slot];
            hole = slot;
        }
    }
    streams->ids[hole] = 0;
    streams->n--;
    return true;
}
