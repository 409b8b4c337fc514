// Tokens verified against an issuer that speaks real HTTP: the development issuer.
#include "server/auth/token.h"

#include <gtest/gtest.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "server/auth/auth.h"
#include "server/dev/issuer.h"

namespace {

std::string encode(const std::string &bytes)
{
    std::string text(bytes.size() * 2 + 4, '\0');
    int len = EVP_EncodeBlock((unsigned char *)&text[0], (const unsigned char *)bytes.data(),
                              (int)bytes.size());
    text.resize((size_t)len);
    while (!text.empty() && text.back() == '=')
        text.pop_back();
    for (char &c : text)
        c = c == '+' ? '-' : c == '/' ? '_' : c;
    return text;
}

class TokenTest : public testing::Test {
  protected:
    void SetUp() override
    {
        dir_ = ::testing::TempDir() + "token_test_XXXXXX";
        ASSERT_NE(nullptr, mkdtemp(&dir_[0]));
        key_file_ = dir_ + "/issuer.pem";
        start_issuer("127.0.0.1:0");
        start_verifier();
    }
    void TearDown() override
    {
        token_verifier_free(verifier_);
        dev_issuer_free(issuer_);
        unlink(key_file_.c_str());
        rmdir(dir_.c_str());
    }

    void start_issuer(const std::string &listen)
    {
        dev_issuer_config config = {listen.c_str(), key_file_.c_str(), "waymark"};
        wm_err err = {};
        ASSERT_EQ(WM_OK, dev_issuer_new(&config, &issuer_, &err)) << err.message;
        url_ = dev_issuer_url(issuer_);
    }
    void stop_issuer()
    {
        dev_issuer_free(issuer_);
        issuer_ = nullptr;
    }
    // A new key under the same URL, as when an issuer rotates.
    void rotate()
    {
        std::string listen = url_.substr(strlen("http://"));
        stop_issuer();
        unlink(key_file_.c_str());
        start_issuer(listen);
    }
    void start_verifier()
    {
        admin_ = url_ + "#root";
        const char *admins[] = {admin_.c_str()};
        auth_issuer issuer = {url_.c_str(), "waymark", nullptr, nullptr, true};
        auth_config config = {&issuer, 1, admins, 1, true};
        token_verifier_free(verifier_);
        verifier_ = token_verifier_new(&config);
    }
    std::string token(const char *subject = "alice", const char *audience = nullptr,
                      int64_t expires_in_s = 60)
    {
        static const char *const groups[] = {"ops"};
        dev_token_request request = {subject, "Alice", audience, groups, 1, expires_in_s};
        wm_buf buf;
        wm_err err = {};
        wm_buf_init(&buf, 65536);
        EXPECT_EQ(WM_OK, dev_issuer_token(issuer_, &request, &buf, &err)) << err.message;
        std::string text(buf.data, buf.size);
        wm_buf_free(&buf);
        return text;
    }
    // "" when it is good, else the reason.
    std::string verify(const std::string &text)
    {
        token_waiter waiter = {};
        wm_code code;
        err_ = {};
        principal_release(who_);
        who_ = nullptr;
        EXPECT_EQ(TOKEN_DONE,
                  token_verify(verifier_, text.data(), text.size(), &waiter, &code, &made_, &err_));
        if (code != WM_OK)
            return err_.reason;
        principal *who = made_;
        subject_ = who->seen.subject;
        id_ = who->seen.id;
        is_admin_ = who->is_admin;
        principal_release(who);
        return "";
    }
    std::string forged(const std::string &header,
                       const std::function<std::string(const std::string &)> &sign)
    {
        std::string claims =
            "{\"iss\":\"" + url_ + "\",\"aud\":\"waymark\",\"sub\":\"root\",\"exp\":9999999999}";
        std::string input = encode(header) + "." + encode(claims);
        return input + "." + encode(sign(input));
    }

    std::string dir_, key_file_, url_, admin_, subject_, id_;
    dev_issuer *issuer_ = nullptr;
    token_verifier *verifier_ = nullptr;
    principal *made_ = nullptr, *who_ = nullptr;
    bool is_admin_ = false;
    wm_err err_ = {};
};

TEST_F(TokenTest, AcceptsAGoodToken)
{
    EXPECT_EQ("", verify(token())) << err_.message;
    EXPECT_EQ("alice", subject_);
    EXPECT_EQ(url_ + "#alice", id_);
    EXPECT_FALSE(is_admin_);
    EXPECT_EQ("", verify(token("root")));
    EXPECT_TRUE(is_admin_);
}

TEST_F(TokenTest, FetchesPastAProxy)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    EXPECT_EQ("", verify(token())) << err_.message;
    unsetenv("http_proxy");
}

TEST_F(TokenTest, EachFailureHasItsReason)
{
    EXPECT_EQ("TOKEN_AUDIENCE", verify(token("alice", "another")));
    EXPECT_EQ("TOKEN_EXPIRED", verify(token("alice", nullptr, -1)));
    EXPECT_EQ("TOKEN_MALFORMED", verify("abc"));
    std::string good = token();
    EXPECT_EQ("TOKEN_MALFORMED", verify(good.substr(0, good.rfind('.'))));
    std::string changed = good;
    char &digit = changed[changed.rfind('.') + 5];
    digit = digit == 'A' ? 'B' : 'A';
    EXPECT_EQ("TOKEN_SIGNATURE", verify(changed));
    // No message may show the token.
    EXPECT_EQ(std::string::npos, std::string(err_.message).find(good.substr(0, 20)));
}

TEST_F(TokenTest, RefusesAlgNoneAndSharedSecrets)
{
    EXPECT_EQ("TOKEN_ALGORITHM",
              verify(forged("{\"alg\":\"none\"}", [](const std::string &) { return ""; })));
    // The classic: HMAC with the public key's text as the secret.
    std::string pem;
    {
        std::ifstream in(key_file_);
        pem.assign(std::istreambuf_iterator<char>(in), {});
    }
    auto hmac = [&](const std::string &input) {
        unsigned char mac[32];
        unsigned size = sizeof(mac);
        HMAC(EVP_sha256(), pem.data(), (int)pem.size(), (const unsigned char *)input.data(),
             input.size(), mac, &size);
        return std::string((char *)mac, size);
    };
    EXPECT_EQ("TOKEN_ALGORITHM", verify(forged("{\"alg\":\"HS256\"}", hmac)));
    EXPECT_EQ("TOKEN_SIGNATURE", verify(forged("{\"alg\":\"ES256\"}", [](const std::string &) {
                  return std::string(64, '\0');
              })));
    EXPECT_EQ("TOKEN_SIGNATURE", verify(forged("{\"alg\":\"ES256\"}", hmac)));
    EXPECT_EQ("TOKEN_MALFORMED",
              verify(forged("{\"alg\":\"ES256\",\"typ\":\"logout+jwt\"}", hmac)));
}

TEST_F(TokenTest, RefusesAnotherIssuersToken)
{
    std::string first_url = url_, first_token = token();
    dev_issuer *first = issuer_;
    std::string first_key = key_file_;
    key_file_ = dir_ + "/other.pem";
    start_issuer("127.0.0.1:0");
    EXPECT_EQ("TOKEN_ISSUER", verify(token()));
    unlink(key_file_.c_str());
    key_file_ = first_key;
    dev_issuer_free(issuer_);
    issuer_ = first;
    url_ = first_url;
}

TEST_F(TokenTest, FetchesARotatedKeyOnce)
{
    EXPECT_EQ("", verify(token()));
    std::string old = token();
    rotate();
    EXPECT_EQ("", verify(token())) << err_.message; // unknown kid: fetched at once
    EXPECT_EQ("TOKEN_KEY_UNKNOWN", verify(old));    // the old key is gone, and no second fetch yet
    rotate();
    EXPECT_EQ("TOKEN_KEY_UNKNOWN", verify(token())); // too soon for another fetch
    std::this_thread::sleep_for(std::chrono::milliseconds(TOKEN_UNKNOWN_KEY_S * 1000 + 50));
    EXPECT_EQ("", verify(token())) << err_.message;
}

TEST_F(TokenTest, SaysThatTheIssuerIsUnreachable)
{
    std::string text = token(), listen = url_.substr(strlen("http://"));
    stop_issuer();
    EXPECT_EQ("TOKEN_ISSUER_UNREACHABLE", verify(text));
    EXPECT_EQ(WM_UNAVAILABLE, err_.code);
    EXPECT_GT(err_.retry_after_ms, 0u);
    start_issuer(listen);
    std::this_thread::sleep_for(std::chrono::milliseconds(TOKEN_RETRY_S * 1000 + 50));
    EXPECT_EQ("", verify(text)) << err_.message;
    stop_issuer();
    EXPECT_EQ("", verify(text)); // known keys stay good
    start_issuer(listen);
}

TEST_F(TokenTest, RefusesAnotherIssuersDiscoveryDocument)
{
    std::string wrong = "http://localhost" + url_.substr(url_.rfind(':')),
                discovery = url_ + "/.well-known/openid-configuration";
    auth_issuer issuer = {wrong.c_str(), "waymark", discovery.c_str(), nullptr, true};
    auth_config config = {&issuer, 1, nullptr, 0, true};
    token_verifier_free(verifier_);
    verifier_ = token_verifier_new(&config);
    std::string claims =
        "{\"iss\":\"" + wrong + "\",\"aud\":\"waymark\",\"sub\":\"root\",\"exp\":9999999999}";
    std::string text =
        encode("{\"alg\":\"ES256\"}") + "." + encode(claims) + "." + encode(std::string(64, 'x'));
    EXPECT_EQ("TOKEN_ISSUER_UNREACHABLE", verify(text));
}

// The issuer says what it is; a configuration that does not expect that trusts none of it.
TEST_F(TokenTest, RefusesADevelopmentIssuerInProduction)
{
    auth_issuer issuer = {url_.c_str(), "waymark", nullptr, nullptr, false};
    auth_config config = {&issuer, 1, nullptr, 0, false};
    token_verifier_free(verifier_);
    verifier_ = token_verifier_new(&config);
    EXPECT_EQ("TOKEN_ISSUER", verify(token()));
    wm_err err = {};
    EXPECT_EQ(WM_UNAUTHENTICATED, token_prefetch(verifier_, 0, &err));
    auth *made;
    EXPECT_EQ(WM_INVALID, auth_new(&config, nullptr, 0, nullptr, &made, &err));
    EXPECT_NE(nullptr, strstr(err.message, "development issuer")) << err.message;
}

TEST_F(TokenTest, ParksWhoComesDuringAFetch)
{
    struct Waiter {
        token_waiter base;
        std::atomic<bool> resumed{false};
    } waiters[8];
    std::string text = token();
    std::vector<std::thread> threads;
    std::atomic<int> done{0};
    for (auto &waiter : waiters) {
        waiter.base.resume = [](token_waiter *base) {
            reinterpret_cast<Waiter *>(base)->resumed = true;
        };
        threads.emplace_back([&] {
            for (;;) {
                wm_code code;
                wm_err err = {};
                principal *made;
                waiter.resumed = false;
                if (token_verify(verifier_, text.data(), text.size(), &waiter.base, &code, &made,
                                 &err) == TOKEN_DONE) {
                    EXPECT_EQ(WM_OK, code) << err.message;
                    principal_release(made);
                    done++;
                    return;
                }
                while (!waiter.resumed)
                    std::this_thread::yield();
            }
        });
    }
    for (auto &thread : threads)
        thread.join();
    EXPECT_EQ(8, done);
}

} // namespace
