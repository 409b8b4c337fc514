// cel/regex.cc - the thin shim between C and RE2; see regex.h.
#include "server/cel/regex.h"

#include <re2/re2.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <new>
#include <string>

struct cel_regex {
    cel_regex(re2::StringPiece pattern, const RE2::Options &options) : re(pattern, options)
    {
    }
    RE2 re;
    uint64_t per_byte = 0; // work units of a byte at worst; 0: half a unit
    bool splits = false;   // \B may hold between the bytes of a character
};

namespace {

// RE2's automaton of so few positions fits its memory: 5 ns a byte. A larger one may not, and then
// each byte takes 10 ns for each position.
constexpr int POSITIONS_FEW = 13;
// Up to this size a pattern is compiled once more to count its positions.
constexpr int SIZE_COUNTED = 300;
// A match within a character starts the search anew, which takes this a byte.
constexpr uint64_t SPLIT_COST = 20;

RE2::Options quiet()
{
    RE2::Options options;

    options.set_log_errors(false);
    options.set_max_mem(1 << 18);
    return options;
}

// Walks over the escapes of a pattern, other than in \Q...\E.
class Escapes {
  public:
    Escapes(const char *pattern, size_t len) : at_(pattern), end_(pattern + len)
    {
    }

    // The letter of the next escape, or 0 at the end.
    char next()
    {
        while ((at_ = static_cast<const char *>(std::memchr(at_, '\\', left()))) != nullptr) {
            if (left() < 2)
                return 0;
            at_ += 2;
            if (at_[-1] != 'Q')
                return at_[-1];
            skip_quoted();
        }
        at_ = end_;
        return 0;
    }

    // Behind the escape.
    const char *at() const
    {
        return at_;
    }

  private:
    size_t left() const
    {
        return static_cast<size_t>(end_ - at_);
    }

    void skip_quoted()
    {
        const void *close = memmem(at_, left(), "\\E", 2);

        at_ = close ? static_cast<const char *>(close) + 2 : end_;
    }

    const char *at_, *end_;
};

bool has_escape(const char *pattern, size_t len, const char *letters)
{
    Escapes escapes(pattern, len);
    char letter;

    while ((letter = escapes.next()) != 0)
        if (std::strchr(letters, letter))
            return true;
    return false;
}

// With \w for each class of Unicode, \p{...}, which takes one position but hundreds of
// instructions.
std::string without_classes(const char *pattern, size_t len)
{
    const char *from = pattern, *end = pattern + len;
    Escapes escapes(pattern, len);
    std::string text;
    char letter;

    while ((letter = escapes.next()) != 0) {
        const char *at = escapes.at();
        const void *close;

        if (letter != 'p' && letter != 'P')
            continue;
        text.append(from, at - 1).push_back('w');
        close = at < end && *at == '{' ? std::memchr(at, '}', static_cast<size_t>(end - at)) : at;
        if (!close || close == end)
            return text;
        from = static_cast<const char *>(close) + 1;
    }
    return text.append(from, end);
}

// Of characters, not bytes, that the pattern may be at.
int count_positions(const char *pattern, size_t len, int size)
{
    bool classes = has_escape(pattern, len, "pP");
    RE2::Options options = quiet();

    if (size <= POSITIONS_FEW || (size > SIZE_COUNTED && !classes))
        return size;
    options.set_encoding(RE2::Options::EncodingLatin1);
    RE2 bytes(without_classes(pattern, len), options);
    return bytes.ok() ? std::min(size, bytes.ProgramSize()) : size;
}

} // namespace

cel_regex *cel_regex_new(const char *pattern, size_t len, char *why, size_t why_size)
{
    if (has_escape(pattern, len, "C")) {
        std::snprintf(why, why_size, "invalid escape sequence: \\C");
        return nullptr;
    }
    cel_regex *regex = new (std::nothrow) cel_regex(re2::StringPiece(pattern, len), quiet());
    if (!regex || !regex->re.ok()) {
        std::snprintf(why, why_size, "%s", regex ? regex->re.error().c_str() : "out of memory");
        delete regex;
        return nullptr;
    }
    int size = regex->re.ProgramSize(), positions = count_positions(pattern, len, size);
    if (positions > POSITIONS_FEW)
        regex->per_byte = static_cast<uint64_t>(std::max(positions, size / 8));
    regex->splits = has_escape(pattern, len, "B");
    if (regex->splits)
        regex->per_byte = std::max(regex->per_byte, SPLIT_COST);
    return regex;
}

void cel_regex_free(cel_regex *regex)
{
    delete regex;
}

int cel_regex_groups(const cel_regex *regex)
{
    return regex->re.NumberOfCapturingGroups();
}

int cel_regex_size(const cel_regex *regex)
{
    return regex->re.ProgramSize();
}

uint64_t cel_regex_cost(const cel_regex *regex, size_t len, bool groups)
{
    if (regex->per_byte > 0)
        return regex->per_byte * len * (groups ? 2 : 1);
    return groups ? POSITIONS_FEW * static_cast<uint64_t>(len) : len / 2;
}

static bool is_inside(const char *at, const char *end)
{
    return at < end && (static_cast<unsigned char>(*at) & 0xc0) == 0x80;
}

bool cel_regex_find(const cel_regex *regex, const char *text, size_t len, size_t from,
                    cel_span *spans, size_t n)
{
    re2::StringPiece groups[CEL_REGEX_GROUPS_MAX], all(text, len);
    size_t wanted = std::min(n, static_cast<size_t>(CEL_REGEX_GROUPS_MAX));

    if (wanted == 0 && regex->splits)
        wanted = 1;
    for (;;) {
        if (!regex->re.Match(all, from, len, RE2::UNANCHORED, groups, static_cast<int>(wanted)))
            return false;
        if (wanted == 0 || !is_inside(groups[0].data(), text + len))
            break;
        // Only an empty match can be there, since all else takes whole characters.
        from = static_cast<size_t>(groups[0].data() - text);
        while (is_inside(text + from, text + len))
            from++;
    }
    for (size_t i = 0; i < std::min(n, wanted); i++)
        spans[i] = {groups[i].data(), groups[i].size()};
    return true;
}
