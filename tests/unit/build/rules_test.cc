// What the rules below //bazel make must be usable from C and C++: embedded files are whole, and
// descriptor sets hold the files they were made of and all imports.
#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "google/protobuf/descriptor.pb-c.h"
#include "google/rpc/error_details.pb-c.h"
#include "tests/unit/build/embedded_files.h"

namespace {

TEST(WaymarkEmbed, KeepsEveryByteAndSortsByName)
{
    ASSERT_EQ(embedded_files_n, 2u);
    EXPECT_STREQ(embedded_files[0].name, "BUILD");
    EXPECT_STREQ(embedded_files[1].name, "rpc_descriptor_set.binpb");

    const wm_embedded &text = embedded_files[0];
    EXPECT_EQ(std::strlen(reinterpret_cast<const char *>(text.bytes)), text.size);
    EXPECT_EQ(text.bytes[text.size], 0);
}

TEST(WaymarkProtoLibrary, DescriptorSetHoldsImports)
{
    const wm_embedded &file = embedded_files[1];
    Google__Protobuf__FileDescriptorSet *set =
        google__protobuf__file_descriptor_set__unpack(nullptr, file.size, file.bytes);
    ASSERT_NE(set, nullptr);

    std::string names;
    for (size_t i = 0; i < set->n_file; i++)
        names += std::string(set->file[i]->name) + "\n";
    EXPECT_NE(names.find("google/rpc/status.proto\n"), std::string::npos);
    EXPECT_NE(names.find("google/protobuf/any.proto\n"), std::string::npos);
    google__protobuf__file_descriptor_set__free_unpacked(set, nullptr);
}

TEST(WaymarkProtoLibrary, MessagesOfGoogleRpcPackAndUnpack)
{
    Google__Rpc__ErrorInfo info = GOOGLE__RPC__ERROR_INFO__INIT;
    std::string reason = "TOKEN_EXPIRED";
    info.reason = reason.data();

    std::string bytes(google__rpc__error_info__get_packed_size(&info), '\0');
    google__rpc__error_info__pack(&info, reinterpret_cast<uint8_t *>(bytes.data()));
    Google__Rpc__ErrorInfo *copy = google__rpc__error_info__unpack(
        nullptr, bytes.size(), reinterpret_cast<const uint8_t *>(bytes.data()));
    ASSERT_NE(copy, nullptr);
    EXPECT_EQ(copy->reason, reason);
    google__rpc__error_info__free_unpacked(copy, nullptr);
}

} // namespace
