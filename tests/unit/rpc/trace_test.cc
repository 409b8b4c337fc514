// W3C Trace Context: what is a traceparent and what is not (the specification's own examples).
#include <gtest/gtest.h>

#include <string>

#include "server/rpc/rpc.h"

namespace {

const char *const kTraceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

bool parse(const std::string &text, rpc_trace *trace)
{
    return rpc_traceparent_parse(text.data(), text.size(), trace);
}

TEST(Traceparent, IsRead)
{
    rpc_trace trace = {};
    char id[RPC_TRACE_ID_SIZE];

    trace.span_id = 0xabc;
    ASSERT_TRUE(parse(kTraceparent, &trace));
    EXPECT_TRUE(trace.has_parent);
    EXPECT_EQ(trace.flags, 1);
    EXPECT_EQ(trace.parent_id[1], 0xf0);
    EXPECT_EQ(trace.span_id, 0xabcu) << "our own";
    rpc_trace_id_format(&trace, id);
    EXPECT_STREQ(id, "4bf92f3577b34da6a3ce929d0e0e4736");
}

TEST(Traceparent, GoesOnWithOurSpan)
{
    rpc_trace trace = {};
    char text[RPC_TRACEPARENT_SIZE];

    ASSERT_TRUE(parse("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-ff", &trace));
    trace.span_id = 0x1122334455667788;
    rpc_traceparent_format(&trace, text);
    EXPECT_STREQ(text, "00-4bf92f3577b34da6a3ce929d0e0e4736-1122334455667788-01");
}

TEST(Traceparent, OfALaterVersionIsReadAsFarAsItIsKnown)
{
    rpc_trace trace = {};

    EXPECT_TRUE(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", &trace));
    EXPECT_TRUE(parse("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-more", &trace));
}

TEST(Traceparent, IsRefused)
{
    for (const char *text : {
             "",
             "00",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
             "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.more",
             "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
             "0x-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
             "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
             "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736_00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e473g-00f067aa0ba902b7-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902bg-01",
             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
         }) {
        rpc_trace trace = {};
        EXPECT_FALSE(parse(text, &trace)) << text;
        EXPECT_FALSE(trace.has_parent);
        EXPECT_EQ(trace.trace_id[0], 0) << "changed by " << text;
    }
}

} // namespace
