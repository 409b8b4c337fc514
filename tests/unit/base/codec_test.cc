/* The wire guard: what it passes, what it refuses, and the path it names. */
#include "base/codec.h"

#include <gtest/gtest.h>

#include <string>

#include "sample.pb-c.h"

namespace {

const ProtobufCMessageDescriptor *const SAMPLE = &waymark__sample__v1__sample__descriptor;

std::string varint(uint64_t value)
{
    std::string bytes;
    for (; value >= 0x80; value >>= 7)
        bytes += static_cast<char>(value | 0x80);
    return bytes + static_cast<char>(value);
}

std::string tag(uint32_t id, int wire_type)
{
    return varint(id << 3 | static_cast<uint32_t>(wire_type));
}

/* A length-delimited field. */
std::string field(uint32_t id, const std::string &content)
{
    return tag(id, 2) + varint(content.size()) + content;
}

class Codec : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_arena_init(&arena, 0);
    }
    void TearDown() override
    {
        wm_arena_free(&arena);
    }
    wm_code unpack(const std::string &bytes)
    {
        ProtobufCMessage *message = nullptr;
        err = {};
        wm_code code = wm_codec_unpack(&arena, SAMPLE, bytes.data(), bytes.size(), &message, &err);
        sample = reinterpret_cast<Waymark__Sample__V1__Sample *>(message);
        EXPECT_EQ(code == WM_OK, message != nullptr);
        return code;
    }
    void expect_refused(const std::string &bytes, const std::string &reason,
                        const std::string &path)
    {
        EXPECT_EQ(unpack(bytes), WM_INVALID);
        EXPECT_EQ(err.code, WM_INVALID);
        EXPECT_EQ(err.reason, reason);
        EXPECT_EQ(err.field, path);
        EXPECT_EQ(wm_codec_check(SAMPLE, bytes.data(), bytes.size(), nullptr), WM_INVALID);
    }
    wm_arena arena;
    Waymark__Sample__V1__Sample *sample = nullptr;
    wm_err err;
};

// A million unknown fields, in any size up to the limit of one: the arena is not enough, or just.
TEST_F(Codec, LeavesRoomForWhoComesAfter)
{
    std::string fields;

    for (int i = 0; i < 999990; i++)
        fields += "\x98\x3f\x01";
    EXPECT_EQ(unpack(fields), WM_EXHAUSTED);
    EXPECT_EQ(wm_arena_limit(&arena), size_t{64} << 20);
    EXPECT_NE(wm_arena_alloc(&arena, size_t{8} << 20), nullptr);
}

TEST_F(Codec, UnpacksIntoTheArena)
{
    std::string inner = field(1, "name") + tag(2, 0) + varint(7);
    ASSERT_EQ(unpack(field(15, "text") + field(17, inner) + field(26, inner) + field(26, "")),
              WM_OK);
    EXPECT_STREQ(sample->text, "text");
    EXPECT_STREQ(sample->inner->name, "name");
    EXPECT_EQ(sample->inner->number, 7);
    ASSERT_EQ(sample->n_inners, 2u);
    EXPECT_STREQ(sample->inners[0]->name, "name");
    EXPECT_STREQ(sample->inners[1]->name, "");
}

TEST_F(Codec, AnEmptyMessageMayBeNull)
{
    ProtobufCMessage *message = nullptr;
    ASSERT_EQ(wm_codec_unpack(&arena, SAMPLE, nullptr, 0, &message, &err), WM_OK);
    EXPECT_NE(message, nullptr);
}

TEST_F(Codec, SkipsUnknownFields)
{
    std::string unknown = tag(1000, 0) + varint(~0ull) + tag(1001, 1) + "12345678" + tag(1002, 5) +
                          "1234" + field(1003, "\xff\x00 anything");
    ASSERT_EQ(unpack(unknown + field(15, "text")), WM_OK);
    EXPECT_STREQ(sample->text, "text");
}

TEST_F(Codec, LastScalarWins)
{
    ASSERT_EQ(unpack(tag(1, 0) + varint(1) + tag(1, 0) + varint(2)), WM_OK);
    EXPECT_EQ(sample->int32_field, 2);
}

TEST_F(Codec, RefusesBadTexts)
{
    expect_refused(field(15, "\xff"), "WIRE_BAD_UTF8", "text");
    expect_refused(field(15, std::string("a\0b", 3)), "WIRE_NUL_IN_STRING", "text");
    expect_refused(field(24, "ok") + field(24, "\xc0\x80"), "WIRE_BAD_UTF8", "texts[1]");
    expect_refused(field(17, field(1, "\xed\xa0\x80")), "WIRE_BAD_UTF8", "inner.name");
    expect_refused(field(26, "") + field(15, "x") + field(26, "") + field(26, field(1, "\xff")),
                   "WIRE_BAD_UTF8", "inners[2].name");
    expect_refused(field(30, field(1, "k") + field(2, "\xff")), "WIRE_BAD_UTF8",
                   "string_labels[0].value");
    EXPECT_EQ(unpack(field(16, "\xff")), WM_OK) << "bytes may be anything";
}

TEST_F(Codec, StopsAtItsDepth)
{
    /* The message itself is the first level. */
    std::string nested;
    for (int depth = 1; depth < WM_WIRE_DEPTH_MAX; depth++)
        nested = field(18, nested);
    EXPECT_EQ(unpack(nested), WM_OK);
    nested = field(18, nested);
    EXPECT_EQ(unpack(nested), WM_INVALID);
    EXPECT_STREQ(err.reason, "WIRE_TOO_DEEP");
    for (int depth = 0; depth < 10000; depth++)
        nested = field(18, nested);
    EXPECT_EQ(unpack(nested), WM_INVALID);
    EXPECT_STREQ(err.reason, "WIRE_TOO_DEEP");
    EXPECT_EQ(unpack(field(999, nested)), WM_OK) << "unknown fields are not descended into";
}

TEST_F(Codec, CountsElements)
{
    EXPECT_EQ(unpack(field(20, std::string(999999, '\1'))), WM_OK);
    wm_arena_reset(&arena);
    expect_refused(field(20, std::string(1000000, '\1')), "WIRE_TOO_MANY_ELEMENTS", "numbers[0]");
    expect_refused(field(27, std::string(8 * 1000001, '\1')), "WIRE_TOO_MANY_ELEMENTS",
                   "fixed_numbers[0]");
    std::string many;
    for (int i = 0; i < 1000001; i++)
        many += field(24, "");
    EXPECT_EQ(unpack(many), WM_INVALID);
    EXPECT_STREQ(err.reason, "WIRE_TOO_MANY_ELEMENTS");
    many.clear();
    for (int i = 0; i < 1000001; i++)
        many += tag(999, 0) + varint(1);
    EXPECT_EQ(unpack(many), WM_INVALID) << "unknown fields count as well";
}

TEST_F(Codec, StopsAtTheArenasLimit)
{
    std::string many;
    for (int i = 0; i < 100000; i++)
        many += field(26, "");
    wm_arena_free(&arena);
    wm_arena_init(&arena, 1024 * 1024);
    EXPECT_EQ(unpack(many), WM_EXHAUSTED);
    EXPECT_STREQ(err.reason, "MESSAGE_TOO_LARGE");
}

TEST_F(Codec, RefusesCutMessages)
{
    std::string whole = field(15, "text") + tag(1, 0) + varint(300) + tag(12, 1) + "12345678" +
                        tag(11, 5) + "1234" + field(17, field(1, "name"));
    ASSERT_EQ(unpack(whole), WM_OK);
    size_t boundaries = 0;
    for (size_t size = 0; size < whole.size(); size++) {
        wm_code code = unpack(whole.substr(0, size));
        if (code == WM_OK)
            boundaries++;
        else
            EXPECT_STREQ(err.reason, "WIRE_TRUNCATED") << size;
    }
    EXPECT_EQ(boundaries, 5u) << "a message may end between fields only";
}

TEST_F(Codec, RefusesMalformedBytes)
{
    expect_refused(std::string("\0\0", 2), "WIRE_MALFORMED", "");
    expect_refused("\x0b", "WIRE_MALFORMED", "");
    expect_refused("\x0f", "WIRE_MALFORMED", "");
    expect_refused(tag(1, 0) + std::string(11, '\x80'), "WIRE_MALFORMED", "");
    expect_refused("\xff\xff\xff\xff\xff\x01", "WIRE_MALFORMED", "");
    expect_refused(tag(15, 2) + "\xff\xff\xff\xff\x0f", "WIRE_MALFORMED", "");
    expect_refused(tag(15, 0) + varint(1), "WIRE_MALFORMED", "text");
    expect_refused(field(1, "x"), "WIRE_MALFORMED", "int32_field");
    expect_refused(tag(26, 0) + varint(1), "WIRE_MALFORMED", "inners[0]");
    expect_refused(field(27, "1234567"), "WIRE_TRUNCATED", "fixed_numbers[0]");
    expect_refused(field(20, "\x80"), "WIRE_TRUNCATED", "numbers[0]");
}

TEST_F(Codec, MergesASingularMessageThatComesTwice)
{
    ASSERT_EQ(unpack(field(17, tag(2, 0) + varint(1)) + field(15, "x") + field(17, field(1, "n"))),
              WM_OK);
    EXPECT_STREQ(sample->inner->name, "n");
    EXPECT_EQ(sample->inner->number, 1);
    EXPECT_STREQ(sample->text, "x");
    ASSERT_EQ(
        unpack(field(17, tag(2, 0) + varint(1)) + field(17, "") + field(17, tag(2, 0) + varint(2))),
        WM_OK);
    EXPECT_EQ(sample->inner->number, 2) << "the last one counts";
}

TEST_F(Codec, MergesDeeply)
{
    std::string first = field(18, field(17, tag(2, 0) + varint(5)) + field(24, "a")),
                second = field(18, field(17, field(1, "n")) + field(24, "b") + field(1000, "?"));
    ASSERT_EQ(unpack(field(18, first) + field(26, "") + field(18, second)), WM_OK);
    const Waymark__Sample__V1__Sample *deep = sample->deeper->deeper;
    EXPECT_EQ(deep->inner->number, 5);
    EXPECT_STREQ(deep->inner->name, "n");
    ASSERT_EQ(deep->n_texts, 2u) << "lists are strung together";
    EXPECT_STREQ(deep->texts[1], "b");
    EXPECT_EQ(deep->base.n_unknown_fields, 1u);
    EXPECT_EQ(sample->n_inners, 1u);

    /* In the element of a list and in the value of a map as well. */
    std::string twice = field(17, tag(2, 0) + varint(7)) + field(17, field(1, "n"));
    ASSERT_EQ(unpack(field(31, field(2, tag(2, 0) + varint(7)) + field(2, field(1, "v"))) +
                     field(18, twice)),
              WM_OK);
    ASSERT_EQ(sample->n_by_number, 1u);
    EXPECT_EQ(sample->by_number[0]->value->number, 7);
    EXPECT_STREQ(sample->by_number[0]->value->name, "v");
    EXPECT_EQ(sample->deeper->inner->number, 7);
}

TEST_F(Codec, MergesInAOneofOnlySinceTheOtherMember)
{
    std::string number = field(42, tag(2, 0) + varint(1)), name = field(42, field(1, "n")),
                text = field(40, "text");
    ASSERT_EQ(unpack(number + name), WM_OK);
    EXPECT_EQ(sample->choice_inner->number, 1);
    EXPECT_STREQ(sample->choice_inner->name, "n");
    ASSERT_EQ(unpack(number + text + name), WM_OK);
    EXPECT_EQ(sample->choice_inner->number, 0);
    EXPECT_STREQ(sample->choice_inner->name, "n");
    ASSERT_EQ(unpack(number + name + text), WM_OK);
    EXPECT_EQ(sample->choice_case, WAYMARK__SAMPLE__V1__SAMPLE__CHOICE_CHOICE_TEXT);
    EXPECT_STREQ(sample->choice_text, "text");
    EXPECT_EQ(unpack(field(26, "") + field(26, "")), WM_OK) << "lists are not merged";
    EXPECT_EQ(sample->n_inners, 2u);
}

TEST_F(Codec, MergingAHundredThousandIsQuickAndBounded)
{
    std::string many, nested;
    for (int i = 0; i < 100000; i++)
        many += field(17, tag(2, 0) + varint(1)) + field(17, field(1, "n"));
    ASSERT_EQ(unpack(many), WM_OK) << "in time that grows with the length, or this does not end";
    EXPECT_STREQ(sample->inner->name, "n");
    wm_arena_free(&arena);
    wm_arena_init(&arena, 1024 * 1024);
    EXPECT_EQ(unpack(many), WM_EXHAUSTED);
    EXPECT_STREQ(err.reason, "MESSAGE_TOO_LARGE");
}

TEST_F(Codec, MergesAtTheGreatestDepth)
{
    std::string nested = field(17, tag(2, 0) + varint(9)) + field(17, field(1, "n"));
    for (int depth = 2; depth < WM_WIRE_DEPTH_MAX; depth++)
        nested = field(18, nested) + field(18, "");
    ASSERT_EQ(unpack(nested), WM_OK);
    const Waymark__Sample__V1__Sample *deep = sample;
    while (deep->deeper != nullptr)
        deep = deep->deeper;
    EXPECT_EQ(deep->inner->number, 9);
    EXPECT_STREQ(deep->inner->name, "n");
}

/* Whichever allocation fails, the answer is a refusal and nothing else. */
TEST_F(Codec, MergesOrRefusesWithAnyLimit)
{
    std::string twice = field(17, tag(2, 0) + varint(7)) + field(17, field(1, "n"));
    std::string many = field(18, twice + field(18, twice)) + field(18, twice) + twice;
    for (int i = 0; i < 200; i++)
        many += field(26, "x" + std::string(1, '\0'));
    many = field(18, many) + twice;
    wm_code code = WM_EXHAUSTED;
    for (size_t limit = 1; code != WM_OK; limit += 500) {
        ASSERT_LT(limit, 1u << 20);
        wm_arena_free(&arena);
        wm_arena_init(&arena, limit);
        code = unpack(many);
        ASSERT_TRUE(code == WM_OK || code == WM_EXHAUSTED) << limit << " " << err.message;
    }
    EXPECT_EQ(sample->inner->number, 7);
}

TEST_F(Codec, TakesPackedBooleansOfAnyLength)
{
    ASSERT_EQ(unpack(field(22, std::string("\x02\x80\x01\x80\x00\x00", 6))), WM_OK);
    ASSERT_EQ(sample->n_flags, 4u);
    EXPECT_TRUE(sample->flags[0]);
    EXPECT_TRUE(sample->flags[1]);
    EXPECT_FALSE(sample->flags[2]);
    EXPECT_FALSE(sample->flags[3]);
}

TEST_F(Codec, ReadsPackedAndUnpackedAlike)
{
    ASSERT_EQ(unpack(tag(20, 0) + varint(1) + field(20, varint(2) + varint(300)) + tag(20, 0) +
                     varint(4)),
              WM_OK);
    ASSERT_EQ(sample->n_numbers, 4u);
    EXPECT_EQ(sample->numbers[2], 300);
}

} // namespace
