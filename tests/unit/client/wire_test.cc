// What the SDK makes of a server's bytes: good, bad and strange.
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "client/wire.h"
#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"

namespace {

template <typename Message> std::string Pack(const Message &message)
{
    std::string bytes(protobuf_c_message_get_packed_size(&message.base), '\0');
    protobuf_c_message_pack(&message.base, reinterpret_cast<uint8_t *>(bytes.data()));
    return bytes;
}

// A google.rpc.Status with details of these types and bytes.
std::string Status(std::vector<std::pair<std::string, std::string>> details)
{
    Google__Rpc__Status status = GOOGLE__RPC__STATUS__INIT;
    std::vector<Google__Protobuf__Any> anys(details.size());
    std::vector<Google__Protobuf__Any *> list;
    for (size_t i = 0; i < details.size(); i++) {
        google__protobuf__any__init(&anys[i]);
        anys[i].type_url = details[i].first.data();
        anys[i].value.data = reinterpret_cast<uint8_t *>(details[i].second.data());
        anys[i].value.len = details[i].second.size();
        list.push_back(&anys[i]);
    }
    status.n_details = list.size();
    status.details = list.data();
    return Pack(status);
}

class Wire : public testing::Test {
  protected:
    void SetUp() override
    {
        grpc_init();
        wm_arena_init(&arena_, 0);
        grpc_metadata_array_init(&trailer_.initial);
        grpc_metadata_array_init(&trailer_.trailing);
    }

    void TearDown() override
    {
        wm_arena_free(&arena_);
        grpc_slice_unref(trailer_.message);
        grpc_slice_unref(entry_.value);
        grpc_shutdown();
    }

    waymark_status Read(grpc_status_code code, const std::string &details)
    {
        waymark_status status;
        trailer_.code = code;
        trailer_.message = grpc_slice_from_copied_string("it went wrong");
        entry_.key = grpc_slice_from_static_string("grpc-status-details-bin");
        entry_.value = grpc_slice_from_copied_buffer(details.data(), details.size());
        trailer_.trailing.count = 1;
        trailer_.trailing.metadata = &entry_;
        client_status_read(&arena_, &trailer_, true, &status);
        return status;
    }

    wm_arena arena_;
    client_trailer trailer_ = {};
    grpc_metadata entry_ = {};
};

TEST_F(Wire, OkHasNoTexts)
{
    waymark_status status = Read(GRPC_STATUS_OK, "");
    EXPECT_EQ(status.code, WAYMARK_OK);
    EXPECT_STREQ(status.message, "");
    EXPECT_STREQ(status.reason, "");
    EXPECT_EQ(status.retry_delay_ms, -1);
    EXPECT_EQ(status.n_violations, 0u);
    ASSERT_EQ(status.n_metadata, 1u);
    EXPECT_STREQ(status.metadata[0].key, "grpc-status-details-bin");
}

TEST_F(Wire, DetailsAreReadByType)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    std::string reason = "STORE_BUSY", domain = "waymark";
    info.reason = reason.data();
    info.domain = domain.data();
    Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
    delay.seconds = 2;
    delay.nanos = 250000000;
    Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
    retry.retry_delay = &delay;

    waymark_status status =
        Read(GRPC_STATUS_RESOURCE_EXHAUSTED,
             Status({{"type.googleapis.com/google.rpc.ErrorInfo", Pack(info)},
                     {"type.googleapis.com/some.other.Detail", "\xff\xff"},
                     {"type.googleapis.com/google.rpc.RetryInfo", Pack(retry)}}));
    EXPECT_EQ(status.code, WAYMARK_RESOURCE_EXHAUSTED);
    EXPECT_STREQ(status.message, "it went wrong");
    EXPECT_STREQ(status.reason, "STORE_BUSY");
    EXPECT_STREQ(status.domain, "waymark");
    EXPECT_EQ(status.retry_delay_ms, 2250);
}

TEST_F(Wire, WhatComesWithTheReason)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    Google__Rpc__ErrorInfo__MetadataEntry one, two;
    Google__Rpc__ErrorInfo__MetadataEntry *entries[] = {&one, &two};
    std::string reason = "LIMIT_REACHED", limit = "limit", value = "64", empty = "empty";
    google__rpc__error_info__metadata_entry__init(&one);
    google__rpc__error_info__metadata_entry__init(&two);
    one.key = limit.data();
    one.value = value.data();
    two.key = empty.data();
    info.reason = reason.data();
    info.n_metadata = 2;
    info.metadata = entries;

    std::string details = Status({{"type.googleapis.com/google.rpc.ErrorInfo", Pack(info)}});
    waymark_status status = Read(GRPC_STATUS_RESOURCE_EXHAUSTED, details);
    EXPECT_EQ(status.n_info, 2u);
    EXPECT_STREQ(waymark_status_info(&status, "limit"), "64");
    EXPECT_STREQ(waymark_status_info(&status, "empty"), "");
    EXPECT_EQ(waymark_status_info(&status, "else"), nullptr);
    EXPECT_EQ(std::string(reinterpret_cast<const char *>(status.details), status.details_size),
              details);
}

TEST_F(Wire, DelaysThatAreNone)
{
    const std::pair<int64_t, int32_t> durations[] = {
        {INT64_MAX, 0}, {INT64_MIN, 0}, {-1, 0}, {0, -1}, {0, INT32_MAX}, {315360000001, 0}};
    const int64_t expected[] = {315360000000, 0, 0, 0, 2147, 315360000000};
    for (size_t i = 0; i < 6; i++) {
        Google__Protobuf__Duration delay = GOOGLE__PROTOBUF__DURATION__INIT;
        Google__Rpc__RetryInfo retry = GOOGLE__RPC__RETRY_INFO__INIT;
        delay.seconds = durations[i].first;
        delay.nanos = durations[i].second;
        retry.retry_delay = &delay;
        waymark_status status =
            Read(GRPC_STATUS_UNAVAILABLE,
                 Status({{"type.googleapis.com/google.rpc.RetryInfo", Pack(retry)}}));
        EXPECT_EQ(status.retry_delay_ms, expected[i]) << i;
        grpc_slice_unref(trailer_.message);
        grpc_slice_unref(entry_.value);
    }
    Read(GRPC_STATUS_OK, "");
}

TEST_F(Wire, BadDetailsLeaveThePlainStatus)
{
    for (const std::string &bytes :
         {std::string("\xff\xff\xff"), std::string(), std::string("\x1a\xff\x01x"),
          Status({{"type.googleapis.com/google.rpc.ErrorInfo", "\x0a\xff"}}),
          Status({{"", ""}, {"google.rpc.ErrorInfo", ""}})}) {
        waymark_status status = Read(GRPC_STATUS_INTERNAL, bytes);
        EXPECT_EQ(status.code, WAYMARK_INTERNAL);
        EXPECT_STREQ(status.message, "it went wrong");
        EXPECT_STREQ(status.reason, "");
        grpc_slice_unref(trailer_.message);
        grpc_slice_unref(entry_.value);
    }
    Read(GRPC_STATUS_OK, "");
}

TEST_F(Wire, MessagesInPiecesAreOneMessage)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    std::string reason(5000, 'R'), domain = "waymark";
    info.reason = reason.data();
    info.domain = domain.data();
    std::string bytes = Pack(info);
    std::vector<grpc_slice> pieces;
    for (size_t at = 0; at < bytes.size(); at += 700)
        pieces.push_back(
            grpc_slice_from_copied_buffer(&bytes[at], std::min<size_t>(700, bytes.size() - at)));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(pieces.data(), pieces.size());

    ProtobufCMessage *message = nullptr;
    wm_err err;
    ASSERT_TRUE(
        client_unpack(&arena_, &google__rpc__error_info__descriptor, buffer, &message, &err))
        << err.message;
    EXPECT_EQ(reinterpret_cast<Google__Rpc__ErrorInfo *>(message)->reason, reason);
    grpc_byte_buffer_destroy(buffer);
    for (grpc_slice piece : pieces)
        grpc_slice_unref(piece);
    Read(GRPC_STATUS_OK, "");
}

TEST_F(Wire, BadMessagesAreRefusedWithAReason)
{
    grpc_slice slice = grpc_slice_from_static_string("\x0a\x03\xff\xfe\xfd");
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    ProtobufCMessage *message = nullptr;
    wm_err err;
    EXPECT_FALSE(
        client_unpack(&arena_, &google__rpc__error_info__descriptor, buffer, &message, &err));
    EXPECT_STREQ(err.reason, "WIRE_BAD_UTF8");
    grpc_byte_buffer_destroy(buffer);
    Read(GRPC_STATUS_OK, "");
}

TEST(Codes, HaveTheirNames)
{
    EXPECT_STREQ(waymark_code_name(WAYMARK_OK), "OK");
    EXPECT_STREQ(waymark_code_name(WAYMARK_UNAUTHENTICATED), "UNAUTHENTICATED");
    EXPECT_STREQ(waymark_code_name(static_cast<waymark_code>(99)),
                 waymark_code_name(static_cast<waymark_code>(98)));
}

} // namespace
