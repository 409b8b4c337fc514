/* Messages as proto3 JSON, both ways. */
#include "base/codec.h"
#include "base/json.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "sample.pb-c.h"

namespace {

const ProtobufCMessageDescriptor *const SAMPLE = &waymark__sample__v1__sample__descriptor;

class JsonMessage : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_arena_init(&arena, 0);
    }
    void TearDown() override
    {
        wm_arena_free(&arena);
    }
    wm_code read(const std::string &text)
    {
        wm_json *json = nullptr;
        ProtobufCMessage *message = nullptr;
        wm_code code = wm_json_parse(&arena, text.data(), text.size(), &json, &err);
        if (code == WM_OK)
            code = wm_json_to_message(&arena, json, SAMPLE, &message, &err);
        if (code == WM_OK)
            sample = reinterpret_cast<Waymark__Sample__V1__Sample *>(message);
        return code;
    }
    std::string write()
    {
        wm_buf buf;
        wm_buf_init(&buf, 1 << 20);
        wm_json_from_message(&buf, &sample->base);
        EXPECT_FALSE(buf.failed);
        std::string text(buf.data, buf.size);
        wm_buf_free(&buf);
        return text;
    }
    /* JSON in, wire bytes, message again, JSON out. */
    std::string through_the_wire(const std::string &text)
    {
        if (read(text) != WM_OK)
            return std::string("refused: ") + err.field + ": " + err.message;
        std::vector<uint8_t> bytes(protobuf_c_message_get_packed_size(&sample->base));
        protobuf_c_message_pack(&sample->base, bytes.data());
        ProtobufCMessage *message = nullptr;
        if (wm_codec_unpack(&arena, SAMPLE, bytes.data(), bytes.size(), &message, &err) != WM_OK)
            return std::string("not unpacked: ") + err.field + ": " + err.message;
        sample = reinterpret_cast<Waymark__Sample__V1__Sample *>(message);
        return write();
    }
    wm_arena arena;
    Waymark__Sample__V1__Sample *sample = nullptr;
    wm_err err;
};

TEST_F(JsonMessage, RoundTrips)
{
    const char *const cases[] = {
        R"({})",
        R"({"int32Field":-2147483648,"sint32Field":-1,"sfixed32Field":2147483647,)"
        R"("uint32Field":4294967295,"fixed32Field":1})",
        R"({"int64Field":"-9223372036854775808","sint64Field":"-1",)"
        R"("sfixed64Field":"9223372036854775807","uint64Field":"18446744073709551615",)"
        R"("fixed64Field":"1"})",
        R"({"floatField":0.1,"doubleField":0.1,"boolField":true,"color":"COLOR_BLUE"})",
        R"({"floatField":"NaN","doubleField":"-Infinity"})",
        R"({"color":99})",
        R"({"text":"gr\u0001\"\\ü","raw":"AP+A"})",
        R"({"raw":"AA=="})",
        R"({"inner":{}})",
        R"({"inner":{"name":"x","number":3},"deeper":{"deeper":{"text":"y"}}})",
        R"({"numbers":[1,-2,0],"reals":[0,0.5,"Infinity"],"flags":[true,false],)"
        R"("colors":["COLOR_RED","COLOR_UNSPECIFIED",5]})",
        R"({"texts":["","a"],"raws":["","AQ=="],"inners":[{},{"name":"b"}],)"
        R"("fixedNumbers":["1","2"]})",
        R"({"stringLabels":{"a":"1","b":"","":"x"}})",
        R"({"byNumber":{"-1":{"name":"x"},"2":{}},"byFlag":{"true":"1","false":"0"}})",
        R"({"choiceText":""})",
        R"({"choiceNumber":0})",
        R"({"choiceInner":{}})",
        R"({"choiceNull":null})",
        R"({"atTime":"2018-08-01T05:00:00Z","waitTime":"1.500s"})",
        R"({"atTime":"2018-08-01T05:00:00.123Z","waitTime":"-0.000001s"})",
        R"({"atTime":"0001-01-01T00:00:00.000000001Z","waitTime":"-315576000000.999999999s"})",
        R"({"payload":{}})",
        R"({"payload":{"a":1.5,"b":null,"c":[true,"x",{"d":[]}],"e":{"f":-0}}})",
        R"({"value":null})",
        R"({"value":"text"})",
        R"({"value":[1,[2,[3]]]})",
        R"({"list":[]})",
        R"({"list":[null,{"a":{}}]})",
        R"({"mask":"userName,a.bC"})",
        R"({"mask":""})",
        R"({"doubleValue":0,"int64Value":"0","boolValue":false,"stringValue":"","bytesValue":""})",
        R"({"any":{"typeUrl":"x/y","value":"AQ=="},"empty":{}})",
    };
    for (const char *text : cases)
        EXPECT_EQ(through_the_wire(text), text);
}

TEST_F(JsonMessage, ReadsOtherSpellings)
{
    const struct {
        const char *text, *canonical;
    } cases[] = {
        {R"({"int32_field":1,"choice_number":2})", R"({"int32Field":1,"choiceNumber":2})"},
        {R"({"int32Field":"12","uint32Field":1e3,"int64Field":7,"uint64Field":"5.0"})",
         R"({"int32Field":12,"uint32Field":1000,"int64Field":"7","uint64Field":"5"})"},
        {R"({"int64Field":9007199254740993})", R"({"int64Field":"9007199254740993"})"},
        {R"({"doubleField":"1.5"})", R"({"doubleField":1.5})"},
        {R"({"color":7})", R"({"color":"COLOR_BLUE"})"},
        {R"({"color":0,"text":"","numbers":[],"stringLabels":{}})", "{}"},
        {R"({"text":null,"inner":null,"numbers":null,"choiceText":null,"atTime":null})", "{}"},
        {R"({"raw":"_-8"})", R"({"raw":"/+8="})"},
        {R"({"raw":"AA"})", R"({"raw":"AA=="})"},
        {R"({"atTime":"2018-08-01T07:00:00.10+02:00"})",
         R"({"atTime":"2018-08-01T05:00:00.100Z"})"},
        {R"({"waitTime":"3s","mask":"a_b"})", R"({"waitTime":"3s","mask":"aB"})"},
        {R"({"waitTime":"0s"})", R"({"waitTime":"0s"})"},
    };
    for (const auto &c : cases)
        EXPECT_EQ(through_the_wire(c.text), c.canonical) << c.text;
}

TEST_F(JsonMessage, NamesTheFieldThatIsWrong)
{
    const struct {
        const char *text, *field;
    } cases[] = {
        {R"([])", ""},
        {R"("x")", ""},
        {R"({"nope":1})", "nope"},
        {R"({"inner":{"nope":1}})", "inner.nope"},
        {R"({"inners":[{},{"number":"x"}]})", "inners[1].number"},
        {R"({"inners":{}})", "inners"},
        {R"({"inners":[null]})", "inners[0]"},
        {R"({"int32Field":2147483648})", "int32Field"},
        {R"({"int32Field":1.5})", "int32Field"},
        {R"({"int32Field":"0x1"})", "int32Field"},
        {R"({"int32Field":" 1"})", "int32Field"},
        {R"({"int32Field":""})", "int32Field"},
        {R"({"int32Field":true})", "int32Field"},
        {R"({"uint32Field":-1})", "uint32Field"},
        {R"({"uint64Field":"18446744073709551616"})", "uint64Field"},
        {R"({"int64Field":"-9223372036854775809"})", "int64Field"},
        {R"({"doubleField":1e999})", "doubleField"},
        {R"({"doubleField":"nan"})", "doubleField"},
        {R"({"floatField":1e39})", "floatField"},
        {R"({"boolField":"true"})", "boolField"},
        {R"({"boolField":1})", "boolField"},
        {R"({"color":"COLOR_GREEN"})", "color"},
        {R"({"color":true})", "color"},
        {R"({"text":1})", "text"},
        {R"({"raw":"A"})", "raw"},
        {R"({"raw":"A?=="})", "raw"},
        {R"({"byNumber":{"x":{}}})", "byNumber.x"},
        {R"({"byFlag":{"1":1}})", "byFlag.1"},
        {R"({"stringLabels":{"a":null}})", "stringLabels.a"},
        {R"({"choiceText":"a","choiceNumber":1})", "choiceNumber"},
        {R"({"int32_field":1,"int32Field":1})", "int32_field"},
        {R"({"atTime":"yesterday"})", "atTime"},
        {R"({"atTime":5})", "atTime"},
        {R"({"waitTime":"1"})", "waitTime"},
        {R"({"waitTime":"1.s"})", "waitTime"},
        {R"({"waitTime":"315576000001s"})", "waitTime"},
        {R"({"waitTime":"1.0000000001s"})", "waitTime"},
        {R"({"payload":[]})", "payload"},
        {R"({"list":{}})", "list"},
        {R"({"mask":"a,,b"})", "mask"},
        {R"({"mask":"a\\b"})", "mask"},
        {R"({"mask":"_"})", "mask"},
        {R"({"int64Value":"x"})", "int64Value"},
    };
    for (const auto &c : cases) {
        EXPECT_EQ(read(c.text), WM_INVALID) << c.text;
        EXPECT_STREQ(err.field, c.field) << c.text;
        EXPECT_STREQ(err.reason, "FIELD_INVALID") << c.text;
    }
}

TEST_F(JsonMessage, LastEntryOfAMapCounts)
{
    /* On the wire a key may come twice. */
    const std::string bytes("\xf2\x01\x06\x0a\x01"
                            "k\x12\x01"
                            "1\xf2\x01\x06\x0a\x01"
                            "k\x12\x01"
                            "2",
                            18);
    ProtobufCMessage *message = nullptr;
    ASSERT_EQ(wm_codec_unpack(&arena, SAMPLE, bytes.data(), bytes.size(), &message, &err), WM_OK);
    sample = reinterpret_cast<Waymark__Sample__V1__Sample *>(message);
    EXPECT_EQ(write(), R"({"stringLabels":{"k":"2"}})");
}

TEST_F(JsonMessage, StopsAtTheArenasLimit)
{
    const std::string text = R"({"deeper":{"texts":["a","b"],"payload":{"a":[1,2,3,"x"]}}})";
    for (size_t limit = WM_ARENA_INLINE_SIZE;; limit += 64) {
        wm_arena_free(&arena);
        wm_arena_init(&arena, limit);
        wm_code code = read(text);
        if (code == WM_OK)
            break;
        ASSERT_EQ(code, WM_EXHAUSTED) << limit;
        ASSERT_LT(limit, 100000u);
    }
    EXPECT_EQ(write(), text);
}

} // namespace
