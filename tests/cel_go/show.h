/* cel_go/show.h - a value as text that both sides write alike: the same text, the same value.
 *
 *   null true i7 u7 d<bits in hex> dnan s<hex> y<hex> t<seconds>.<nanos> D<nanos> T<name>
 *   [a,b] {k:v,k:v} (sorted) O() O(v) I<text> C<text>, and E for an error
 */
#ifndef WAYMARK_TESTS_CEL_GO_SHOW_H
#define WAYMARK_TESTS_CEL_GO_SHOW_H

#include "server/cel/cel.h"

void cel_go_show(wm_buf *out, const cel_value *value, wm_arena *arena);

#endif
