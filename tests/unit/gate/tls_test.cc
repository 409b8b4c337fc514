// A TLS session reads no more in a turn than it may, whatever the client sends.
#include "server/gate/tls.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <climits>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

namespace {

void certificate_write(const std::string &cert_file, const std::string &key_file)
{
    EVP_PKEY *key = EVP_EC_gen("P-256");
    X509 *cert = X509_new();
    X509_set_version(cert, 2);
    X509_gmtime_adj(X509_getm_notBefore(cert), -60);
    X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
    X509_set_pubkey(cert, key);
    X509_sign(cert, key, EVP_sha256());
    FILE *file = fopen(cert_file.c_str(), "w");
    PEM_write_X509(file, cert);
    fclose(file);
    file = fopen(key_file.c_str(), "w");
    PEM_write_PrivateKey(file, key, nullptr, nullptr, 0, nullptr, nullptr);
    fclose(file);
    X509_free(cert);
    EVP_PKEY_free(key);
}

class GateTls : public testing::Test {
  protected:
    void SetUp() override
    {
        std::string cert = testing::TempDir() + "tls_test.pem";
        std::string key = testing::TempDir() + "tls_test.key";
        certificate_write(cert, key);
        rpc_listener listener = {};
        listener.address = "test";
        listener.cert_file = cert.c_str();
        listener.key_file = key.c_str();
        wm_err err = {};
        ASSERT_EQ(WM_OK, gate_tls_new(&listener, &tls_, &err)) << err.message;
        ASSERT_EQ(0, socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends_));
        room_.resize(1 << 20);
        out_.bytes = room_.data();
        out_.room = room_.size();
        io_.fd = ends_[0];
        io_.out = &out_;
        server_ = gate_tls_accept(tls_, &io_);
        context_ = SSL_CTX_new(TLS_client_method());
        SSL_CTX_set_alpn_protos(context_, reinterpret_cast<const uint8_t *>("\x02h2"), 3);
        client_ = SSL_new(context_);
        SSL_set_fd(client_, ends_[1]);
        shake();
    }

    void TearDown() override
    {
        SSL_free(client_);
        SSL_CTX_free(context_);
        SSL_free(server_);
        gate_tls_free(tls_);
        close(ends_[0]);
        close(ends_[1]);
    }

    void shake()
    {
        SSL_set_connect_state(client_);
        for (int i = 0; i < 10 && (SSL_in_init(client_) || SSL_in_init(server_)); i++) {
            SSL_do_handshake(client_);
            gate_tls_turn(&io_, 1 << 20, UINT_MAX);
            SSL_do_handshake(server_);
            ASSERT_EQ(static_cast<ssize_t>(out_.size), write(ends_[0], out_.bytes, out_.size));
            out_.size = 0;
        }
        ASSERT_TRUE(gate_tls_is_h2(server_));
        sent_ = BIO_new(BIO_s_mem());
        SSL_set0_wbio(client_, sent_);
    }

    void change_keys(int n)
    {
        for (int i = 0; i < n; i++) {
            ASSERT_EQ(1, SSL_key_update(client_, SSL_KEY_UPDATE_NOT_REQUESTED));
            ASSERT_EQ(1, SSL_do_handshake(client_));
        }
    }

    // In one write: a socket holds few that are small.
    void send_all()
    {
        char *bytes;
        long size = BIO_get_mem_data(sent_, &bytes);
        ASSERT_EQ(size, write(ends_[1], bytes, static_cast<size_t>(size)));
        BIO_reset(sent_);
    }

    void say(const char *text)
    {
        int size = static_cast<int>(strlen(text));
        ASSERT_EQ(size, SSL_write(client_, text, size));
    }

    // What one turn reads of data.
    std::string turn(size_t size, unsigned n_messages)
    {
        char bytes[1024];
        gate_tls_turn(&io_, size, n_messages);
        int n = SSL_read(server_, bytes, sizeof(bytes));
        if (n <= 0) {
            EXPECT_EQ(SSL_ERROR_WANT_READ, SSL_get_error(server_, n));
        }
        return std::string(bytes, n > 0 ? n : 0);
    }

    size_t unread() const
    {
        int size = 0;
        ioctl(ends_[0], FIONREAD, &size);
        return static_cast<size_t>(size);
    }

    gate_tls *tls_ = nullptr;
    int ends_[2] = {-1, -1};
    std::vector<uint8_t> room_;
    gate_out out_ = {};
    gate_tls_io io_ = {};
    SSL *server_ = nullptr;
    SSL_CTX *context_ = nullptr;
    SSL *client_ = nullptr;
    BIO *sent_ = nullptr;
};

TEST_F(GateTls, ATurnReadsSoManyBytesAndLosesNone)
{
    change_keys(1000);
    say("hello");
    send_all();
    size_t left = unread();
    ASSERT_GT(left, 20000u);
    for (; left > 5000; left -= 5000) {
        EXPECT_EQ("", turn(5000, UINT_MAX));
        ASSERT_EQ(left - 5000, unread());
    }
    EXPECT_EQ("hello", turn(5000, UINT_MAX));
}

TEST_F(GateTls, ATurnOfNoBytesReadsNone)
{
    say("hello");
    send_all();
    EXPECT_EQ("", turn(0, UINT_MAX));
    EXPECT_EQ("hello", turn(1000, UINT_MAX));
}

TEST_F(GateTls, ASessionEndsWithTooManyMessages)
{
    change_keys(3010);
    say("hello");
    send_all();
    EXPECT_EQ("", turn(100, 10));
    EXPECT_LE(io_.n_messages, 10u);
    char byte;
    gate_tls_turn(&io_, 1 << 20, 10);
    int n = SSL_read(server_, &byte, 1);
    EXPECT_EQ(0, n);
    EXPECT_EQ(SSL_ERROR_ZERO_RETURN, SSL_get_error(server_, n));
    EXPECT_EQ(11u, io_.n_messages);
    EXPECT_GT(unread(), 0u);
    EXPECT_EQ(1, SSL_write(server_, "x", 1));
}

TEST_F(GateTls, KnowsThatTheRestOfARecordIsMissing)
{
    say("hello");
    char *bytes;
    size_t size = static_cast<size_t>(BIO_get_mem_data(sent_, &bytes));
    std::string record(bytes, size);
    EXPECT_FALSE(gate_tls_is_in_record(server_));
    size_t at = 0;
    for (size_t end : {1, 4, 5, 6, 20}) {
        ASSERT_EQ(static_cast<ssize_t>(end - at), write(ends_[1], &record[at], end - at));
        at = end;
        EXPECT_EQ("", turn(1 << 20, 0));
        EXPECT_TRUE(io_.has_read);
        EXPECT_TRUE(gate_tls_is_in_record(server_)) << end;
        EXPECT_EQ("", turn(1 << 20, 0));
        EXPECT_FALSE(io_.has_read);
        EXPECT_TRUE(gate_tls_is_in_record(server_)) << end;
    }
    ASSERT_EQ(static_cast<ssize_t>(size - at), write(ends_[1], &record[at], size - at));
    EXPECT_EQ("hello", turn(1 << 20, 0));
    EXPECT_FALSE(gate_tls_is_in_record(server_));
}

TEST_F(GateTls, DataIsNoMessage)
{
    for (int i = 0; i < 100; i++)
        say("hello");
    send_all();
    EXPECT_EQ("hello", turn(1 << 20, 0));
    EXPECT_EQ(0u, io_.n_messages);
}

} // namespace
