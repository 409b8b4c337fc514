// TLS and mutual TLS of the C SDK, with certificates made here.
#include <gtest/gtest.h>
#include <unistd.h>
#include <waymark/waymark.h>

#include <cstdlib>
#include <string>

#include "testing.client.h"
#include "tests/integration/client/echo_service.h"

namespace {

class TlsTest : public testing::Test {
  protected:
    static void SetUpTestSuite()
    {
        dir_ = "/tmp/wmtlsXXXXXX";
        ASSERT_NE(mkdtemp(dir_.data()), nullptr);
        // One authority, which signs the server "waymark.test" and a client.
        Openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
                " -subj /CN=authority -keyout ca.key -out ca.pem");
        Sign("server", "-addext subjectAltName=DNS:waymark.test");
        Sign("client", "");
        // And one that nobody trusts.
        Openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
                " -subj /CN=stranger -keyout other.key -out other.pem");
    }

    static void TearDownTestSuite()
    {
        EXPECT_EQ(std::system(("rm -rf " + dir_).c_str()), 0);
    }

    static void Openssl(const std::string &arguments)
    {
        std::string command = "cd " + dir_ + " && openssl " + arguments + " 2>openssl.log";
        ASSERT_EQ(std::system(command.c_str()), 0) << command;
    }

    static void Sign(const std::string &name, const std::string &extension)
    {
        Openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=" + name + " " +
                extension + " -keyout " + name + ".key -out " + name + ".csr");
        Openssl("x509 -req -days 2 -in " + name +
                ".csr -copy_extensions copy -CA ca.pem -CAkey ca.key"
                " -CAcreateserial -out " +
                name + ".pem");
    }

    static std::string Path(const char *name)
    {
        return dir_ + "/" + name;
    }

    void Start(bool mutual)
    {
        server_ = echo_server_start_tls("127.0.0.1:0", Path("server.pem").c_str(),
                                        Path("server.key").c_str(),
                                        mutual ? Path("ca.pem").c_str() : nullptr);
        address_ = "127.0.0.1:" + std::to_string(echo_server_port(server_));
        ca_ = Path("ca.pem");
        cert_ = Path("client.pem");
        key_ = Path("client.key");
    }

    void TearDown() override
    {
        echo_server_stop(server_);
    }

    // How one call of such a client ends.
    waymark_code Call(waymark_client_options options)
    {
        waymark_problem problem = {};
        options.address = address_.c_str();
        options.own_connection = true;
        waymark_client *client = waymark_client_new(&options, &problem);
        if (client == nullptr)
            return problem.code;
        Google__Protobuf__Empty request = GOOGLE__PROTOBUF__EMPTY__INIT;
        waymark_call_options call_options = {};
        waymark_reply *reply;
        call_options.timeout_ms = 5000;
        waymark_testing_v1_echo_service_nothing_sync(client, &request, &call_options, &reply);
        waymark_code code = waymark_reply_status(reply)->code;
        waymark_reply_free(reply);
        waymark_client_free(client);
        return code;
    }

    waymark_client_options Trusting()
    {
        waymark_client_options options = {};
        options.tls = true;
        options.ca_file = ca_.c_str();
        options.tls_name = "waymark.test";
        return options;
    }

    static std::string dir_;
    echo_server *server_ = nullptr;
    std::string address_, ca_, cert_, key_;
};

std::string TlsTest::dir_;

TEST_F(TlsTest, TrustsTheAuthorityItIsTold)
{
    Start(false);
    EXPECT_EQ(Call(Trusting()), WAYMARK_OK);
}

TEST_F(TlsTest, RefusesOtherAuthoritiesAndNames)
{
    Start(false);
    waymark_client_options options = Trusting();
    std::string other = Path("other.pem");
    options.ca_file = other.c_str();
    EXPECT_EQ(Call(options), WAYMARK_UNAVAILABLE);

    options = Trusting();
    options.tls_name = "elsewhere.test";
    EXPECT_EQ(Call(options), WAYMARK_UNAVAILABLE);

    options = Trusting();
    options.tls = false;
    EXPECT_EQ(Call(options), WAYMARK_UNAVAILABLE);
}

TEST_F(TlsTest, MutualTlsNeedsAClientCertificate)
{
    Start(true);
    EXPECT_EQ(Call(Trusting()), WAYMARK_UNAVAILABLE);

    waymark_client_options options = Trusting();
    options.cert_file = cert_.c_str();
    EXPECT_EQ(Call(options), WAYMARK_INVALID_ARGUMENT); // the key is missing
    options.key_file = key_.c_str();
    EXPECT_EQ(Call(options), WAYMARK_OK);
}

// Which the core does not do by itself with TLS.
TEST_F(TlsTest, ClientsShareAConnection)
{
    Start(false);
    waymark_client_options options = Trusting(), sharing = {};
    options.address = address_.c_str();
    waymark_client *first = waymark_client_new(&options, nullptr);
    ASSERT_NE(first, nullptr);
    ASSERT_TRUE(waymark_client_wait_ready(first, 10000));
    waymark_credentials *token = waymark_credentials_token("t");
    sharing.share = first;
    sharing.credentials = token; // by TLS it may leave the machine
    waymark_client *second = waymark_client_new(&sharing, nullptr);
    ASSERT_NE(second, nullptr);
    EXPECT_EQ(waymark_client_state(second, false), WAYMARK_STATE_READY);
    Google__Protobuf__Empty request = GOOGLE__PROTOBUF__EMPTY__INIT;
    waymark_reply *reply;
    waymark_client_free(first);
    waymark_testing_v1_echo_service_nothing_sync(second, &request, nullptr, &reply);
    EXPECT_EQ(waymark_reply_status(reply)->code, WAYMARK_OK);
    waymark_reply_free(reply);
    waymark_client_free(second);
    waymark_credentials_free(token);
}

} // namespace
