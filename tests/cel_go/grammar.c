/* cel_go/grammar.c - random expressions by a table of templates. See grammar.h.
 *
 * In a template `$` and a letter is an operand of that type, `#` and a letter binds the next
 * macro variable to that type, and `@` and a digit names a variable that this template bound.
 * The letters: b bool, i int, u uint, d double, s string, y bytes, t timestamp, D duration,
 * l list(int), L list(string), m map(string, int), o optional(int), n null, T type, I ip,
 * C cidr, x anything, and for `$`: p a pattern, z a zone, k one of a few keys.
 */
#include "tests/cel_go/grammar.h"

#include <string.h>

const grammar_variable grammar_variables[GRAMMAR_VARIABLES] = {
    {"b", "bool", 'b'},
    {"i", "int", 'i'},
    {"u", "uint", 'u'},
    {"d", "double", 'd'},
    {"s", "string", 's'},
    {"y", "bytes", 'y'},
    {"t", "timestamp", 't'},
    {"span", "duration", 'D'},
    {"l", "list(int)", 'l'},
    {"names", "list(string)", 'L'},
    {"m", "map(string,int)", 'm'},
    {"doc", "map(string,dyn)", 'M'},
    {"any", "dyn", 'x'},
};

enum { DEPTH_MAX = 5, SIZE_MAX_BYTES = 1500 };

typedef struct production {
    char result;
    const char *text;
} production;

static const production constants[] = {
    {'b', "true"},
    {'b', "false"},
    {'i', "0"},
    {'i', "1"},
    {'i', "-1"},
    {'i', "2"},
    {'i', "3"},
    {'i', "7"},
    {'i', "0x1F"},
    {'i', "63"},
    {'i', "64"},
    {'i', "-9223372036854775808"},
    {'i', "9223372036854775807"},
    {'i', "9007199254740993"},
    {'i', "1700000000"},
    {'u', "0u"},
    {'u', "1u"},
    {'u', "3u"},
    {'u', "0xFFu"},
    {'u', "18446744073709551615u"},
    {'u', "9223372036854775808u"},
    {'d', "0.0"},
    {'d', "-0.0"},
    {'d', "1.0"},
    {'d', "1.5"},
    {'d', "-2.5"},
    {'d', "0.1"},
    {'d', "1e300"},
    {'d', "1e-7"},
    {'d', "9007199254740993.0"},
    {'d', "9.3e18"},
    {'d', "123456789.125"},
    {'d', "double('NaN')"},
    {'d', "double('Infinity')"},
    {'d', "double('-Infinity')"},
    {'s', "''"},
    {'s', "'a'"},
    {'s', "\"b\""},
    {'s', "'abc'"},
    {'s', "'ABC abc'"},
    {'s', "r'a\\b'"},
    {'s', "'\\n\\t\\''"},
    {'s', "'\\u00e9\\u4e16'"},
    {'s', "'\\U0001F600x'"},
    {'s', "'''it's'''"},
    {'s', "'10'"},
    {'s', "'-7'"},
    {'s', "'1.5e3'"},
    {'s', "'true'"},
    {'s', "'1h30m'"},
    {'s', "'2024-02-29T23:59:59.5Z'"},
    {'s', "'2024-01-01T00:00:00Z'"},
    {'s', "'2024-01-01 00:00:00Z'"},
    {'s', "'2016-12-31T23:59:60Z'"},
    {'s', "'0x1.8'"},
    {'s', "'-nan'"},
    {'s', "'64:ff9b::1.2.3.4'"},
    {'s', "'10.0.0.1'"},
    {'s', "'2001:db8::1'"},
    {'s', "'aGVsbG8='"},
    {'s', "'_-8='"},
    {'s', "' padded '"},
    {'s', "'a,b,,c'"},
    {'y', "b''"},
    {'y', "b'abc'"},
    {'y', "b'\\xff\\x00'"},
    {'y', "b'\\303\\251'"},
    {'t', "timestamp('2024-02-29T23:59:59.5Z')"},
    {'t', "timestamp('1970-01-01T00:00:00Z')"},
    {'t', "timestamp('0001-01-01T00:00:00Z')"},
    {'t', "timestamp('9999-12-31T23:59:59.999999999Z')"},
    {'t', "timestamp('2024-03-31T01:30:00Z')"},
    {'t', "timestamp(1700000000)"},
    {'D', "duration('1h')"},
    {'D', "duration('-1.5s')"},
    {'D', "duration('0s')"},
    {'D', "duration('1h2m3.004s')"},
    {'D', "duration('100000h')"},
    {'l', "[1]"},
    {'l', "[1, 2, 3]"},
    {'l', "[3, 1, 2, 1]"},
    {'l', "[-5, 9223372036854775807, 0]"},
    {'L', "['a', 'b']"},
    {'L', "['']"},
    {'L', "['b', 'a', 'c', 'a']"},
    {'m', "{'a': 1}"},
    {'m', "{'a': 1, 'b': 2, 'c': 3}"},
    {'M', "{'a': 1, 'b': 'x', 'c': {'a': [1, 2], 'b': null}}"},
    {'M', "{'a': true, 'c': {'a': {'a': 1.5}}, 'list': [1, 'a', null]}"},
    {'o', "[1][?5]"},
    {'o', "optional.of(1)"},
    {'n', "null"},
    {'T', "int"},
    {'T', "string"},
    {'T', "list"},
    {'T', "google.protobuf.Timestamp"},
    {'T', "type(null)"},
    {'I', "ip('10.0.0.1')"},
    {'I', "ip('2001:db8::1')"},
    {'I', "ip('127.0.0.1')"},
    {'C', "cidr('10.0.0.0/8')"},
    {'C', "cidr('2001:db8::/32')"},
    {'p', "'a'"},
    {'p', "'^[a-c]+$'"},
    {'p', "'(b)|c'"},
    {'p', "'[0-9]+'"},
    {'p', "''"},
    {'p', "r'\\w+'"},
    {'p', "'(?i)ABC'"},
    {'z', "'UTC'"},
    {'z', "'Europe/Paris'"},
    {'z', "'America/New_York'"},
    {'z', "'+05:30'"},
    {'z', "'-02:00'"},
    {'z', "'Asia/Kolkata'"},
    {'k', "a"},
    {'k', "b"},
    {'k', "c"},
};

static const production productions[] = {
    {'b', "!$b"},
    {'b', "($b && $b)"},
    {'b', "($b || $b)"},
    {'b', "($b && $b && $b)"},
    {'b', "($b ? $b : $b)"},
    {'b', "($i < $i)"},
    {'b', "($i >= $d)"},
    {'b', "($u <= $i)"},
    {'b', "($d > $u)"},
    {'b', "($s < $s)"},
    {'b', "($y <= $y)"},
    {'b', "($t < $t)"},
    {'b', "($D >= $D)"},
    {'b', "($b < $b)"},
    {'b', "($i == $i)"},
    {'b', "($s == $s)"},
    {'b', "($d != $d)"},
    {'b', "($l == $l)"},
    {'b', "($m != $m)"},
    {'b', "($x == $x)"},
    {'b', "($x != $x)"},
    {'b', "(dyn($i) == $d)"},
    {'b', "(dyn($u) == $i)"},
    {'b', "(dyn(type($x)) == $T)"},
    {'b', "($i in $l)"},
    {'b', "($s in $L)"},
    {'b', "($s in $m)"},
    {'b', "($x in [$x, $x])"},
    {'b', "has($m.$k)"},
    {'b', "has(doc.$k)"},
    {'b', "has(doc.c.$k)"},
    {'b', "$l.all(#i, $b)"},
    {'b', "$l.exists(#i, $b)"},
    {'b', "$l.exists_one(#i, $b)"},
    {'b', "$l.all(#i, @0 < $i)"},
    {'b', "$L.exists(#s, @0 == $s)"},
    {'b', "$m.all(#s, $b)"},
    {'b', "$m.exists(#s, @0 == $s)"},
    {'b', "$l.all(#i, #i, @0 <= @1 || $b)"},
    {'b', "$m.exists(#s, #i, @1 > $i)"},
    {'b', "$m.existsOne(#s, #i, @0 == $s)"},
    {'b', "$s.startsWith($s)"},
    {'b', "$s.endsWith($s)"},
    {'b', "$s.contains($s)"},
    {'b', "$s.matches($p)"},
    {'b', "bool($s)"},
    {'b', "math.isNaN($d)"},
    {'b', "math.isInf($d)"},
    {'b', "math.isFinite($d)"},
    {'b', "sets.contains($l, $l)"},
    {'b', "sets.equivalent($L, $L)"},
    {'b', "sets.intersects($l, $l)"},
    {'b', "$l.hasAll($l)"},
    {'b', "$L.hasAny($L)"},
    {'b', "$l.hasOnly($l)"},
    {'b', "$L.hasExactly($L)"},
    {'b', "$o.hasValue()"},
    {'b', "($o == $o)"},
    {'b', "isIP($s)"},
    {'b', "isCIDR($s)"},
    {'b', "$I.isLoopback()"},
    {'b', "$C.containsIP($I)"},
    {'b', "$C.isMask()"},
    {'b', "cel.bind(#i, $i, $b)"},
    {'i', "($i + $i)"},
    {'i', "($i - $i)"},
    {'i', "($i * $i)"},
    {'i', "($i / $i)"},
    {'i', "($i % $i)"},
    {'i', "-($i)"},
    {'i', "($b ? $i : $i)"},
    {'i', "size($s)"},
    {'i', "size($l)"},
    {'i', "$L.size()"},
    {'i', "$m.size()"},
    {'i', "$y.size()"},
    {'i', "int($u)"},
    {'i', "int($d)"},
    {'i', "int($s)"},
    {'i', "int($t)"},
    {'i', "$l[$i]"},
    {'i', "$l[0]"},
    {'i', "$m[$s]"},
    {'i', "$m.$k"},
    {'i', "$s.indexOf($s)"},
    {'i', "$s.lastIndexOf($s)"},
    {'i', "$t.getFullYear()"},
    {'i', "$t.getMonth($z)"},
    {'i', "$t.getDate($z)"},
    {'i', "$t.getDayOfWeek($z)"},
    {'i', "$t.getDayOfYear($z)"},
    {'i', "$t.getHours($z)"},
    {'i', "$t.getMinutes($z)"},
    {'i', "$t.getSeconds()"},
    {'i', "$t.getMilliseconds()"},
    {'i', "$D.getHours()"},
    {'i', "$D.getMinutes()"},
    {'i', "$D.getSeconds()"},
    {'i', "math.greatest($i, $i)"},
    {'i', "math.least($i, $i, $i)"},
    {'i', "math.abs($i)"},
    {'i', "math.sign($i)"},
    {'i', "math.bitAnd($i, $i)"},
    {'i', "math.bitOr($i, $i)"},
    {'i', "math.bitXor($i, $i)"},
    {'i', "math.bitNot($i)"},
    {'i', "math.bitShiftLeft($i, $i)"},
    {'i', "math.bitShiftRight($i, $i)"},
    {'i', "$o.orValue($i)"},
    {'i', "$o.value()"},
    {'i', "cel.bind(#i, $i, @0 + $i)"},
    {'i', "$I.family()"},
    {'i', "$C.prefixLength()"},
    {'u', "($u + $u)"},
    {'u', "($u - $u)"},
    {'u', "($u * $u)"},
    {'u', "($u / $u)"},
    {'u', "($u % $u)"},
    {'u', "uint($i)"},
    {'u', "uint($d)"},
    {'u', "uint($s)"},
    {'u', "math.bitAnd($u, $u)"},
    {'u', "math.bitShiftLeft($u, $i)"},
    {'u', "math.bitShiftRight($u, $i)"},
    {'u', "math.abs($u)"},
    {'d', "($d + $d)"},
    {'d', "($d - $d)"},
    {'d', "($d * $d)"},
    {'d', "($d / $d)"},
    {'d', "-($d)"},
    {'d', "double($i)"},
    {'d', "double($u)"},
    {'d', "double($s)"},
    {'d', "math.ceil($d)"},
    {'d', "math.floor($d)"},
    {'d', "math.round($d)"},
    {'d', "math.trunc($d)"},
    {'d', "math.abs($d)"},
    {'d', "math.sign($d)"},
    {'d', "math.sqrt($d)"},
    {'d', "math.greatest($d, $d)"},
    {'s', "($s + $s)"},
    {'s', "($b ? $s : $s)"},
    {'s', "string($i)"},
    {'s', "string($u)"},
    {'s', "string($d)"},
    {'s', "string($b)"},
    {'s', "string($y)"},
    {'s', "string($t)"},
    {'s', "string($D)"},
    {'s', "string($I)"},
    {'s', "$L[$i]"},
    {'s', "$s.charAt($i)"},
    {'s', "$s.lowerAscii()"},
    {'s', "$s.upperAscii()"},
    {'s', "$s.trim()"},
    {'s', "$s.reverse()"},
    {'s', "$s.substring($i)"},
    {'s', "$s.substring($i, $i)"},
    {'s', "$s.replace($s, $s)"},
    {'s', "$s.replace($s, $s, $i)"},
    {'s', "$L.join()"},
    {'s', "$L.join($s)"},
    {'s', "strings.quote($s)"},
    {'s', "base64.encode($y)"},
    {'s', "base64.encodeUrl($y)"},
    {'s', "'%s|%d|%x'.format([$s, $i, $i])"},
    {'s', "'%.2f %e'.format([$d, $d])"},
    {'s', "'%s %s'.format([$s, $m])"},
    {'s', "'%b %o %X'.format([$i, $u, $s])"},
    {'s', "regex.replace($s, $p, $s)"},
    {'s', "cel.bind(#s, $s, @0 + @0)"},
    {'s', "doc.b"},
    {'y', "($y + $y)"},
    {'y', "bytes($s)"},
    {'y', "base64.decode($s)"},
    {'y', "base64.decodeUrl($s)"},
    {'t', "($t + $D)"},
    {'t', "($D + $t)"},
    {'t', "($t - $D)"},
    {'t', "timestamp($s)"},
    {'t', "timestamp($i)"},
    {'D', "($t - $t)"},
    {'D', "($D + $D)"},
    {'D', "($D - $D)"},
    {'D', "duration($s)"},
    {'l', "($l + $l)"},
    {'l', "[$i, $i]"},
    {'l', "[?$o, $i]"},
    {'l', "$l.map(#i, $i)"},
    {'l', "$l.map(#i, @0 * $i)"},
    {'l', "$l.filter(#i, $b)"},
    {'l', "$l.map(#i, $b, $i)"},
    {'l', "$m.map(#s, $i).sort()"},
    {'l', "$l.transformList(#i, #i, @0 + @1)"},
    {'l', "$m.transformList(#s, #i, @1).sort()"},
    {'l', "$l.slice($i, $i)"},
    {'l', "$l.sort()"},
    {'l', "$l.distinct()"},
    {'l', "$l.reverse()"},
    {'l', "[$l, $l].flatten()"},
    {'l', "$l.sortBy(#i, -@0)"},
    {'l', "lists.range(size($l))"},
    {'l', "($b ? $l : $l)"},
    {'L', "$s.split($s)"},
    {'L', "$s.split(',', $i)"},
    {'L', "$L.map(#s, $s)"},
    {'L', "$L.filter(#s, @0 != $s)"},
    {'L', "$L.sort()"},
    {'L', "$L.distinct()"},
    {'L', "($L + $L)"},
    {'L', "regex.extractAll($s, $p)"},
    {'m', "{'a': $i, 'b': $i}"},
    {'m', "{'x': $i, ?'y': $o}"},
    {'m', "$m.transformMap(#s, #i, $i)"},
    {'m', "$m.transformMap(#s, #i, @1 > $i, @1)"},
    {'m', "($b ? $m : $m)"},
    {'M', "{'a': $x, 'b': $x}"},
    {'M', "{'c': $M, 'list': [$x]}"},
    {'o', "optional.of($i)"},
    {'o', "optional.ofNonZeroValue($i)"},
    {'o', "$m.?$k"},
    {'o', "$m[?$s]"},
    {'o', "$l[?$i]"},
    {'o', "$o.or($o)"},
    {'o', "$o.optMap(#i, @0 + $i)"},
    {'o', "$o.optFlatMap(#i, $o)"},
    {'o', "$l.first()"},
    {'o', "$l.last()"},
    {'T', "type($x)"},
    {'I', "ip($s)"},
    {'I', "$C.ip()"},
    {'C', "cidr($s)"},
    {'C', "$C.masked()"},
    {'x', "dyn($x)"},
    {'x', "doc.$k"},
    {'x', "doc.c.$k"},
    {'x', "doc[$s]"},
    {'x', "[$x, $x]"},
    {'x', "[$x][$i]"},
    {'x', "{$s: $x}"},
    {'x', "($b ? $x : $x)"},
    {'x', "doc.?$k.orValue($x)"},
    {'x', "doc.list[$i]"},
};

/* xorshift64*: fast, and the same everywhere. */
static uint64_t next(grammar *g)
{
    g->state ^= g->state >> 12;
    g->state ^= g->state << 25;
    g->state ^= g->state >> 27;
    return g->state * 2685821657736338717u;
}

static size_t below(grammar *g, size_t limit)
{
    return (size_t)((next(g) >> 33) % limit);
}

static const char *choose(grammar *g, const production *table, size_t n, char letter)
{
    size_t count = 0, chosen;

    for (size_t i = 0; i < n; i++)
        count += table[i].result == letter;
    if (count == 0)
        return NULL;
    chosen = below(g, count);
    for (size_t i = 0;; i++) {
        if (table[i].result == letter && chosen-- == 0)
            return table[i].text;
    }
}

static char any_letter(grammar *g)
{
    static const char letters[] = "mMbiudsytDlLonT";
    size_t skip = g->ordered > 0 ? 2 : 0;

    return letters[skip + below(g, sizeof(letters) - 1 - skip)];
}

/* A variable of the type: a macro's, now and then, or one of the declared. */
static bool put_variable(grammar *g, char letter, wm_buf *out)
{
    if (g->n_bound > 0 && below(g, 2) == 0) {
        size_t i = below(g, g->n_bound);

        if (g->bound[i] == letter) {
            wm_buf_printf(out, "v%zu", i);
            return true;
        }
    }
    for (size_t i = 0; i < GRAMMAR_VARIABLES; i++) {
        if (grammar_variables[i].letter == letter) {
            wm_buf_text(out, grammar_variables[i].name);
            return true;
        }
    }
    return false;
}

static void put_constant(grammar *g, char letter, wm_buf *out)
{
    wm_buf_text(out, choose(g, constants, WM_ARRAY_LEN(constants), letter));
}

static void put_operand(grammar *g, char letter, wm_buf *out);

static bool makes_list(const char *macro)
{
    static const char *const names[] = {".map(", ".filter(", ".transformList("};

    for (size_t i = 0; i < WM_ARRAY_LEN(names); i++)
        if (strncmp(macro, names[i], strlen(names[i])) == 0)
            return true;
    return false;
}

static void put_template(grammar *g, const char *text, wm_buf *out)
{
    size_t first = g->n_bound;

    for (const char *at = text; *at; at++) {
        if (*at == '$') {
            /* A macro over a map goes through it in any order, which a list would show. */
            bool shows_order = at[1] != 'm' && makes_list(at + 2);

            g->ordered += shows_order;
            put_operand(g, *++at, out);
            g->ordered -= shows_order;
        } else if (*at == '#' && g->n_bound < sizeof(g->bound)) {
            wm_buf_printf(out, "v%zu", g->n_bound);
            g->bound[g->n_bound++] = *++at;
        } else if (*at == '@') {
            wm_buf_printf(out, "v%zu", first + (size_t)(*++at - '0'));
        } else {
            wm_buf_char(out, *at);
        }
    }
    g->n_bound = first;
}

static void put_operand(grammar *g, char letter, wm_buf *out)
{
    bool is_name = letter == 'k' || letter == 'p' || letter == 'z';
    const char *text;

    if (!is_name && (int)below(g, 100) < g->wrong_percent)
        letter = any_letter(g);
    if (letter == 'x' && below(g, 4) > 0)
        letter = any_letter(g);
    if (is_name) {
        put_constant(g, letter, out);
        return;
    }
    text = choose(g, productions, WM_ARRAY_LEN(productions), letter);
    if (text == NULL || g->depth >= DEPTH_MAX || out->size > SIZE_MAX_BYTES || below(g, 3) == 0 ||
        g->n_bound + 2 > sizeof(g->bound)) {
        if (below(g, 2) == 0 && put_variable(g, letter, out))
            return;
        put_constant(g, letter == 'x' ? any_letter(g) : letter, out);
        return;
    }
    g->depth++;
    put_template(g, text, out);
    g->depth--;
}

void grammar_expression(grammar *g, wm_buf *out)
{
    static const char roots[] = "bbbbbbbiiudssytDlLmMoTIxx";

    g->depth = 0;
    g->n_bound = 0;
    put_operand(g, roots[below(g, sizeof(roots) - 1)], out);
}

void grammar_constant(grammar *g, char letter, wm_buf *out)
{
    put_constant(g, letter == 'x' ? any_letter(g) : letter, out);
}
