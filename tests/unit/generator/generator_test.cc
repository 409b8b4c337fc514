// protoc-gen-waymark-c: its output letter by letter, its names, and its errors. That the output
// compiles in C and C++ is shown by everything that uses it.
#include <gtest/gtest.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "bazel/protoc-gen-waymark-c/emit.h"
#include "bazel/protoc-gen-waymark-c/generate.h"
#include "bazel/protoc-gen-waymark-c/names.h"
#include "bazel/protoc-gen-waymark-c/template.h"

namespace {

using Request = Google__Protobuf__Compiler__CodeGeneratorRequest;
using Response = Google__Protobuf__Compiler__CodeGeneratorResponse;

std::string ReadFile(const std::string &path)
{
    std::ifstream in(path);
    EXPECT_TRUE(in.good()) << path;
    return std::string(std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>());
}

class Golden : public testing::TestWithParam<const char *> {};

// When the output is meant to change: copy bazel-bin/tests/proto/testing.* over golden/*.golden
// and read the difference.
TEST_P(Golden, OutputIsStable)
{
    std::string name = GetParam();
    EXPECT_EQ(ReadFile("tests/unit/generator/golden/" + name + ".golden"),
              ReadFile("tests/proto/" + name));
}

INSTANTIATE_TEST_SUITE_P(Files, Golden,
                         testing::Values("testing.methods.h", "testing.methods.c",
                                         "testing.server.h", "testing.server.c", "testing.client.h",
                                         "testing.client.c"));

std::string Take(char *text)
{
    std::string taken = text;
    free(text);
    return taken;
}

TEST(Names, AreThoseOfProtocGenC)
{
    EXPECT_EQ(Take(names_message_type(".waymark.geo.v1.GetTrackRequest")),
              "Waymark__Geo__V1__GetTrackRequest");
    EXPECT_EQ(Take(names_message_prefix(".waymark.geo.v1.GetTrackRequest")),
              "waymark__geo__v1__get_track_request");
    EXPECT_EQ(Take(names_message_type(".my_package.outer_Message.innerOne")),
              "MyPackage__OuterMessage__InnerOne");
    EXPECT_EQ(Take(names_message_prefix(".my_package.HTTPServer.URLs")),
              "my_package__httpserver__urls");
    EXPECT_EQ(Take(names_message_type(".NoPackage")), "NoPackage");
}

TEST(Names, OfServicesAndMethods)
{
    EXPECT_EQ(Take(names_service("waymark.geo.v1", "TrackService")),
              "waymark_geo_v1_track_service");
    EXPECT_EQ(Take(names_service("", "Read")), "read_service");
    EXPECT_EQ(Take(names_service("", "TrackService")), "track_service_service");
    EXPECT_EQ(Take(names_lower("GetPositionsAt")), "get_positions_at");
    EXPECT_EQ(Take(names_member("Delete")), "delete_");
    EXPECT_EQ(Take(names_member("Deleted")), "deleted");
    EXPECT_EQ(Take(names_member("typeof_unqual")), "typeof_unqual_");
    EXPECT_EQ(Take(names_member("__func__")), "__func___");
    EXPECT_EQ(Take(names_member("__asm")), "__asm_");
    EXPECT_EQ(Take(names_member("__asm_")), "__asm_");
    EXPECT_EQ(Take(names_member("___")), "___");
    EXPECT_EQ(Take(names_member("__")), "___");
    EXPECT_EQ(Take(names_field("Delete")), "delete_");
    EXPECT_EQ(Take(names_field("someName")), "somename");
    EXPECT_EQ(Take(names_upper("get_x.y")), "GET_X_Y");
    EXPECT_EQ(Take(names_guard("2fa/b_C")), "WAYMARK_C_2fa_2fb_5fC");
    EXPECT_EQ(Take(names_guard("\xc3\xa4")), "WAYMARK_C__c3_a4");
    EXPECT_EQ(Take(names_stem("a/b.proto")), "a/b");
    EXPECT_EQ(Take(names_stem("a/b")), "a/b");
}

TEST(Template, ReplacesNames)
{
    const template_name names[] = {{"a", "one"}, {"ab", "two"}};
    char *text = nullptr;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    template_write(out, names, 2, "$a$ $ab$$a$, 5$$");
    fclose(out);
    EXPECT_EQ(Take(text), "one twoone, 5$");
}

std::string Comment(const char *comment, bool deprecated, const char *more)
{
    char *text = nullptr;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    emit_comment(out, "  ", comment, deprecated, more);
    fclose(out);
    return Take(text);
}

TEST(Comments, StayComments)
{
    EXPECT_EQ(Comment("", false, nullptr), "");
    EXPECT_EQ(Comment(" One line.\n", false, nullptr), "  /* One line. */\n");
    EXPECT_EQ(Comment(" Ends */ here /* not.\n", false, nullptr),
              "  /* Ends * / here / * not. */\n");
    EXPECT_EQ(Comment(" A.\n\n B.\n", true, "More."),
              "  /* A.\n   *\n   * B.\n   *\n   * Deprecated.\n   *\n   * More. */\n");
    // A trigraph, which is a backslash; others are left alone.
    EXPECT_EQ(Comment(" What?? ?/ ?\?/\n ?\?\?/* ?\?!", false, nullptr),
              "  /* What?? ?/ ?? /\n   * ??? / * ?\?! */\n");
    EXPECT_EQ(Comment("", true, nullptr), "  /* Deprecated. */\n");
}

// One file with one service of one method, from pieces.
struct Pieces {
    Pieces(const char *options, const char *input)
    {
        google__protobuf__method_descriptor_proto__init(&method);
        method.name = Keep("Get");
        method.input_type = Keep(input);
        method.output_type = Keep(".a.Thing");
        google__protobuf__service_descriptor_proto__init(&service);
        service.name = Keep("Things");
        service.n_method = 1;
        service.method = &methods;
        google__protobuf__descriptor_proto__init(&message);
        message.name = Keep("Thing");
        google__protobuf__file_descriptor_proto__init(&file);
        file.name = Keep("a.proto");
        file.package = Keep("a");
        file.n_service = 1;
        file.service = &services;
        file.n_message_type = 1;
        file.message_type = &messages;
        google__protobuf__compiler__code_generator_request__init(&request);
        request.parameter = Keep(options);
        request.n_proto_file = 1;
        request.proto_file = &files;
        request.n_file_to_generate = 1;
        wanted = file.name;
        request.file_to_generate = &wanted;
    }

    char *Keep(const char *text)
    {
        texts.emplace_back(text, text + std::string(text).size() + 1);
        return texts.back().data();
    }

    // The error, or the names of the files.
    std::string Run()
    {
        options options;
        char *error = options_parse(&options, request.parameter);
        Response *response = generate(&request, &options);
        free(options.protoc_gen_c);
        std::string result = error ? error : response->error ? response->error : "";
        if (error != nullptr) {
            free(error);
            google__protobuf__compiler__code_generator_response__free_unpacked(response, nullptr);
            return result;
        }
        for (size_t i = 0; i < response->n_file; i++)
            result += std::string(response->file[i]->name) + "\n";
        google__protobuf__compiler__code_generator_response__free_unpacked(response, nullptr);
        return result;
    }

    std::vector<std::vector<char>> texts;
    Google__Protobuf__MethodDescriptorProto method, *methods = &method;
    Google__Protobuf__ServiceDescriptorProto service, *services = &service;
    Google__Protobuf__DescriptorProto message, *messages = &message;
    Google__Protobuf__FileDescriptorProto file, *files = &file;
    char *wanted;
    Request request;
};

TEST(Generate, OptionsChooseWhatComesOut)
{
    EXPECT_EQ(Pieces("", ".a.Thing").Run(),
              "a.methods.h\na.methods.c\na.server.h\na.server.c\na.client.h\na.client.c\n");
    EXPECT_EQ(Pieces("client", ".a.Thing").Run(), "a.client.h\na.client.c\n");
    EXPECT_EQ(Pieces("methods,server", ".a.Thing").Run(),
              "a.methods.h\na.methods.c\na.server.h\na.server.c\n");
}

TEST(Generate, SaysWhatIsWrong)
{
    EXPECT_EQ(Pieces("clients", ".a.Thing").Run(),
              "unknown option \"clients\"; known are messages, methods, server, client, "
              "protoc-gen-c=PATH");
    EXPECT_NE(Pieces("", ".a.Missing").Run().find("a.proto"), std::string::npos);
    Pieces unknown("", ".a.Thing");
    unknown.wanted = unknown.Keep("b.proto");
    EXPECT_NE(unknown.Run().find("b.proto"), std::string::npos);
}

TEST(Generate, FilesWithoutServicesGiveNothing)
{
    Pieces pieces("", ".a.Thing");
    pieces.file.n_service = 0;
    EXPECT_EQ(pieces.Run(), "");
}

} // namespace
