// cel/regex.cc - the thin shim between C and RE2; see regex.h.
#include "server/cel/regex.h"

#include <re2/re2.h>

#include <cstdio>
#include <new>

struct cel_regex {
    cel_regex(re2::StringPiece pattern, const RE2::Options &options) : re(pattern, options)
    {
    }
    RE2 re;
};

cel_regex *cel_regex_new(const char *pattern, size_t len, char *why, size_t why_size)
{
    RE2::Options options;

    options.set_log_errors(false);
    options.set_max_mem(1 << 18);
    cel_regex *regex = new (std::nothrow) cel_regex(re2::StringPiece(pattern, len), options);
    if (regex && regex->re.ok())
        return regex;
    std::snprintf(why, why_size, "%s", regex ? regex->re.error().c_str() : "out of memory");
    delete regex;
    return nullptr;
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

bool cel_regex_find(const cel_regex *regex, const char *text, size_t len, size_t from,
                    cel_span *spans, size_t n)
{
    re2::StringPiece groups[CEL_REGEX_GROUPS_MAX];

    if (n > CEL_REGEX_GROUPS_MAX)
        n = CEL_REGEX_GROUPS_MAX;
    if (!regex->re.Match(re2::StringPiece(text, len), from, len, RE2::UNANCHORED, groups,
                         static_cast<int>(n)))
        return false;
    for (size_t i = 0; i < n; i++)
        spans[i] = {groups[i].data(), groups[i].size()};
    return true;
}
