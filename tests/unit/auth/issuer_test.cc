// The development issuer: what it answers, and whom it refuses.
#include "server/dev/issuer.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

namespace {

class DevIssuer : public testing::Test {
  protected:
    void SetUp() override
    {
        dir_ = ::testing::TempDir() + "issuer_test_XXXXXX";
        ASSERT_NE(nullptr, mkdtemp(&dir_[0]));
        key_file_ = dir_ + "/issuer.pem";
        dev_issuer_config config = {"127.0.0.1:0", key_file_.c_str(), "waymark"};
        wm_err err = {};
        ASSERT_EQ(WM_OK, dev_issuer_new(&config, &issuer_, &err)) << err.message;
        port_ = atoi(strrchr(dev_issuer_url(issuer_), ':') + 1);
    }
    void TearDown() override
    {
        dev_issuer_free(issuer_);
        unlink(key_file_.c_str());
        rmdir(dir_.c_str());
    }
    // Sends raw HTTP and returns all of the answer.
    std::string http(const std::string &head, const std::string &body = "")
    {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        sockaddr_in to = {};
        to.sin_family = AF_INET;
        to.sin_port = htons((uint16_t)port_);
        inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
        EXPECT_EQ(0, connect(fd, (sockaddr *)&to, sizeof(to)));
        std::string text = head +
                           "Connection: close\r\nContent-Length: " + std::to_string(body.size()) +
                           "\r\n\r\n" + body;
        EXPECT_EQ((ssize_t)text.size(), send(fd, text.data(), text.size(), MSG_NOSIGNAL));
        std::string answer;
        char part[4096];
        for (ssize_t n; (n = recv(fd, part, sizeof(part), 0)) > 0;)
            answer.append(part, (size_t)n);
        close(fd);
        return answer;
    }
    std::string
    post(const std::string &body,
         const std::string &headers = "Host: localhost\r\nContent-Type: application/json\r\n")
    {
        return http("POST /token HTTP/1.1\r\n" + headers, body);
    }
    static int status(const std::string &answer)
    {
        return answer.size() > 12 ? atoi(answer.c_str() + 9) : 0;
    }

    std::string dir_, key_file_;
    dev_issuer *issuer_ = nullptr;
    int port_ = 0;
};

TEST_F(DevIssuer, KeepsItsKeyToItself)
{
    struct stat info;
    ASSERT_EQ(0, stat(key_file_.c_str(), &info));
    EXPECT_EQ(0600u, info.st_mode & 0777);
    std::string keys = http("GET /jwks HTTP/1.1\r\nHost: 127.0.0.1:1\r\n");
    EXPECT_EQ(200, status(keys));
    EXPECT_NE(std::string::npos, keys.find("\"crv\":\"P-256\""));
    EXPECT_EQ(std::string::npos, keys.find("\"d\""));
}

TEST_F(DevIssuer, GivesTokens)
{
    std::string answer = post(
        "{\"sub\":\"alice\",\"groups\":[\"ops\"],\"expires_in\":60,\"aud\":\"x\",\"name\":\"A\"}");
    EXPECT_EQ(200, status(answer)) << answer;
    EXPECT_NE(std::string::npos, answer.find("\"expires_in\":60,"));
    EXPECT_NE(std::string::npos, answer.find("#alice\""));
}

TEST_F(DevIssuer, GrantsTheRole)
{
    struct Granted {
        std::string text;
        static wm_code grant(void *ctx, const char *name, const char *principal, auth_role role,
                             wm_err *)
        {
            static_cast<Granted *>(ctx)->text =
                std::string(name) + " " + principal + " " + std::to_string(role);
            return WM_OK;
        }
    } granted;
    EXPECT_EQ(503, status(post("{\"sub\":\"alice\",\"role\":\"viewer\"}")));
    dev_issuer_set_grant(issuer_, Granted::grant, &granted);
    EXPECT_EQ(200,
              status(post("{\"sub\":\"alice\",\"role\":\"operator\",\"namespace\":\"port\"}")));
    EXPECT_EQ("port " + std::string(dev_issuer_url(issuer_)) + "#alice 2", granted.text);
    EXPECT_EQ(400, status(post("{\"sub\":\"alice\",\"role\":\"king\"}")));
}

TEST_F(DevIssuer, GivesTokensByClientCredentials)
{
    struct Granted {
        std::string text;
        static wm_code grant(void *ctx, const char *, const char *principal, auth_role role,
                             wm_err *)
        {
            static_cast<Granted *>(ctx)->text +=
                strchr(principal, '#') + std::string(" ") + std::to_string(role) + "\n";
            return WM_OK;
        }
    } granted;
    const std::string form = "Content-Type: application/x-www-form-urlencoded\r\n";
    const std::string grant = "grant_type=client_credentials";
    /* "van%207:any" */
    const std::string basic = "Host: localhost\r\nAuthorization: Basic dmFuJTIwNzphbnk=\r\n" + form;
    dev_issuer_set_grant(issuer_, Granted::grant, &granted);

    std::string answer = post(grant + "&scope=operator+worker", basic);
    EXPECT_EQ(200, status(answer)) << answer;
    EXPECT_NE(std::string::npos, answer.find("#van 7\""));
    EXPECT_EQ("#van 7 2\n#van 7 4\n", granted.text);
    EXPECT_EQ(200, status(post("scope=&" + grant + "&audience=%78", basic)));

    EXPECT_EQ(400, status(post(grant + "&scope=operator%20king", basic)));
    EXPECT_EQ("#van 7 2\n#van 7 4\n", granted.text) << "nothing is granted before all is known";
    EXPECT_EQ(400, status(post("scope=viewer", basic)));
    EXPECT_EQ(400, status(post("grant_type=password", basic)));
    EXPECT_EQ(400, status(post(grant + "&scope=%6", basic)));
    EXPECT_EQ(400, status(post(grant + "&scope=%00", basic)));
    EXPECT_EQ(400, status(post(grant + "&scope=%ff", basic)));
    EXPECT_EQ(400, status(post(grant + "&scope=viewer&scope=admin", basic)));
    EXPECT_EQ(400, status(post("", basic)));
}

TEST_F(DevIssuer, RefusesAFormWithoutCredentials)
{
    const std::string form =
        "Host: localhost\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    const std::string body = "grant_type=client_credentials";
    EXPECT_EQ(401, status(post(body, form)));
    EXPECT_EQ(401, status(post(body + "&client_id=a&client_secret=b", form)));
    EXPECT_EQ(401, status(post(body, form + "Authorization: Bearer abc\r\n")));
    EXPECT_EQ(401, status(post(body, form + "Authorization: Basic OmE=\r\n"))) << "no name";
    EXPECT_EQ(403, status(post(body, form + "Origin: https://evil.example\r\n"
                                            "Authorization: Basic YTpi\r\n")));
}

TEST_F(DevIssuer, RefusesBadRequests)
{
    for (const char *body :
         {"", "[]", "{}", "{\"sub\":\"\"}", "{\"sub\":1}", "{\"sub\":\"a\",\"expires_in\":0}",
          "{\"sub\":\"a\",\"expires_in\":1e9}", "{\"sub\":\"a\",\"groups\":\"x\"}",
          "{\"sub\":\"a\",\"subject\":\"b\"}", "{\"sub\":\"a\",\"sub\":\"b\"}"})
        EXPECT_EQ(400, status(post(body))) << body;
    EXPECT_EQ(413, status(post("{\"sub\":\"" + std::string(70000, 'a') + "\"}")));
    EXPECT_EQ(404, status(http("GET /token HTTP/1.1\r\nHost: localhost\r\n")));
}

TEST_F(DevIssuer, RefusesWhatABrowserCouldSend)
{
    const std::string body = "{\"sub\":\"alice\"}", json = "Content-Type: application/json\r\n";
    EXPECT_EQ(403, status(post(body, "Host: evil.example\r\n" + json)));
    EXPECT_EQ(403, status(post(body, "Host: 127.0.0.1.evil.example\r\n" + json)));
    EXPECT_EQ(403,
              status(post(body, "Host: localhost\r\nOrigin: https://evil.example\r\n" + json)));
    EXPECT_EQ(403, status(post(body, "Host: localhost\r\nOrigin: null\r\n" + json)));
    EXPECT_EQ(415, status(post(body, "Host: localhost\r\nContent-Type: text/plain\r\n")));
    EXPECT_EQ(415, status(post(body, "Host: localhost\r\n")));
    EXPECT_EQ(200,
              status(post(body, "Host: [::1]:80\r\nOrigin: http://localhost:3000\r\n" + json)));
}

TEST(DevIssuerAddress, IsLoopbackOnly)
{
    std::string key = ::testing::TempDir() + "issuer_address.pem";
    for (const char *listen : {"0.0.0.0:0", "192.0.2.1:0", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x",
                               "[::]:0", "127.0.0.1:70000"}) {
        dev_issuer_config config = {listen, key.c_str(), "waymark"};
        dev_issuer *issuer;
        wm_err err = {};
        EXPECT_EQ(WM_INVALID, dev_issuer_new(&config, &issuer, &err)) << listen;
        EXPECT_EQ(nullptr, issuer);
    }
    unlink(key.c_str());
}

} // namespace
