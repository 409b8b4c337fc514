// Every example of docs/cel.md gives the result that stands behind it.
#include <gtest/gtest.h>

#include <fstream>

#include "tests/unit/cel/support.h"

namespace {

std::string trimmed(const std::string &text)
{
    size_t from = text.find_first_not_of(' '), to = text.find_last_not_of(' ');

    return from == std::string::npos ? "" : text.substr(from, to - from + 1);
}

TEST(CelDocs, ExamplesGiveTheirResults)
{
    std::ifstream page("docs/cel.md");
    std::string line;
    bool inside = false;
    int n = 0;

    ASSERT_TRUE(page.is_open());
    while (std::getline(page, line)) {
        size_t mark = line.rfind("// ");

        if (line.rfind("```", 0) == 0) {
            inside = line == "```cel";
        } else if (inside) {
            ASSERT_NE(mark, std::string::npos) << line;
            EXPECT_EQ(Cel().run(trimmed(line.substr(0, mark))), trimmed(line.substr(mark + 3)))
                << line;
            n++;
        }
    }
    EXPECT_GT(n, 100);
}

} // namespace
