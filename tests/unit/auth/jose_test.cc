// Strict reading of JWS and JWK texts.
#include "server/auth/jose.h"

#include <gtest/gtest.h>

#include <string>

namespace {

class Jose : public testing::Test {
  protected:
    void SetUp() override
    {
        wm_arena_init(&arena_, 0);
    }
    void TearDown() override
    {
        wm_arena_free(&arena_);
    }

    static std::string encode(const std::string &bytes)
    {
        static const char digits[] =
            "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        std::string text;
        uint32_t bits = 0;
        int n_bits = 0;
        for (unsigned char byte : bytes) {
            bits = bits << 8 | byte;
            for (n_bits += 8; n_bits >= 6; n_bits -= 6)
                text += digits[bits >> (n_bits - 6) & 63];
        }
        if (n_bits > 0)
            text += digits[bits << (6 - n_bits) & 63];
        return text;
    }

    // The reason, or "" when it was read.
    std::string read_jws(const std::string &text)
    {
        wm_err err = {};
        return jose_jws_read(&arena_, text.data(), text.size(), &jws_, &err) == WM_OK ? ""
                                                                                      : err.reason;
    }
    std::string read_header(const std::string &header)
    {
        return read_jws(encode(header) + ".e30." + encode(std::string(64, 'x')));
    }
    // The message, or "".
    std::string read_jwk(const std::string &text)
    {
        wm_err err = {};
        wm_json *json;
        EXPECT_EQ(WM_OK, wm_json_parse(&arena_, text.data(), text.size(), &json, &err)) << text;
        return jose_jwk_read(&arena_, json, &jwk_, &err) == WM_OK ? "" : err.message;
    }
    bool decodes(const std::string &text)
    {
        const uint8_t *bytes;
        size_t size;
        return jose_base64url_decode(&arena_, text.data(), text.size(), &bytes, &size);
    }

    wm_arena arena_;
    jose_jws jws_ = {};
    jose_jwk jwk_ = {};
};

TEST_F(Jose, Base64urlIsStrict)
{
    const uint8_t *bytes;
    size_t size;
    ASSERT_TRUE(jose_base64url_decode(&arena_, "Zm9vYg", 6, &bytes, &size));
    EXPECT_EQ("foob", std::string((const char *)bytes, size));
    EXPECT_TRUE(decodes(""));
    EXPECT_TRUE(decodes("_-8"));
    for (const char *bad : {"Z", "Zm9vY", "Zm9v=", "Zg==", "Zm9v ", " Zm9v", "Zm\n9v", "Zm+v",
                            "Zm/v", "Zh", "Zm9vYh", "Zm9vYmE\xc3"})
        EXPECT_FALSE(decodes(bad)) << bad;
    EXPECT_FALSE(decodes(std::string("Zm\0v", 4)));
}

TEST_F(Jose, ReadsAHeader)
{
    ASSERT_EQ("", read_header("{\"alg\":\"ES256\",\"kid\":\"k1\",\"typ\":\"at+jwt\",\"jwk\":{}}"));
    EXPECT_STREQ("ES256", jws_.alg->name);
    EXPECT_STREQ("k1", jws_.kid);
    EXPECT_STREQ("at+jwt", jws_.typ);
    EXPECT_EQ(2u, jws_.payload_size);
    EXPECT_EQ(64u, jws_.signature_size);
}

TEST_F(Jose, RefusesOtherAlgorithms)
{
    for (const char *alg :
         {"none", "NONE", "None", "HS256", "HS512", "es256", "ES256 ", "ES256K", "RSA-OAEP", ""})
        EXPECT_EQ("TOKEN_ALGORITHM", read_header(std::string("{\"alg\":\"") + alg + "\"}")) << alg;
    for (const char *header : {"{}", "{\"alg\":1}", "{\"alg\":null}", "{\"alg\":[\"ES256\"]}"})
        EXPECT_EQ("TOKEN_ALGORITHM", read_header(header)) << header;
}

TEST_F(Jose, RefusesMalformedTexts)
{
    std::string header = encode("{\"alg\":\"ES256\"}");
    for (const std::string &text :
         {std::string(), std::string("."), std::string(".."), header, header + ".e30",
          header + ".e30.", header + ".e30.eHg.eHg", header + ".e30.e=", header + ".e30. eHg",
          header + ".e30.eHg\n", "." + header + ".eHg", header + ".e3.eHh"})
        EXPECT_EQ("TOKEN_MALFORMED", read_jws(text)) << text;
    for (const char *bad :
         {"[]", "\"x\"", "{\"alg\":\"ES256\"", "{\"alg\":\"ES256\",\"alg\":\"ES256\"}",
          "{\"alg\":\"ES256\"} x", "{\"alg\":\"ES256\",\"kid\":7}", "{\"alg\":\"ES256\",\"typ\":7}",
          "{\"alg\":\"ES256\",\"crit\":[\"b64\"],\"b64\":false}",
          "{\"alg\":\"ES256\",\"b64\":false}", "{\"alg\":\"ES256\",\"crit\":[]}",
          "{\"alg\":\"ES256\",\"kid\":\"\xff\"}"})
        EXPECT_EQ("TOKEN_MALFORMED", read_header(bad)) << bad;
    EXPECT_EQ("TOKEN_MALFORMED", read_jws(std::string(JOSE_TEXT_MAX + 1, 'A')));
}

const char *const X = "04N0xi21hshyvBp7I167sbE_bXqyqkAPfefdklMO7wY";
const char *const Y = "UI8exy-C06a7DUnjIdENkxeFtHM4-l_41LqEw9nVgmw";

std::string ec(const std::string &more = "")
{
    return std::string("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"") + X + "\",\"y\":\"" + Y +
           "\"" + more + "}";
}

std::string rsa(const std::string &n, const std::string &e, const std::string &more = "")
{
    return "{\"kty\":\"RSA\",\"n\":\"" + n + "\",\"e\":\"" + e + "\"" + more + "}";
}

TEST_F(Jose, ReadsKeysForSignatures)
{
    EXPECT_EQ("", read_jwk(ec()));
    EXPECT_EQ("",
              read_jwk(ec(",\"use\":\"sig\",\"kid\":\"a\",\"alg\":\"ES256\",\"d\":\"secret\"")));
    EXPECT_EQ(nullptr, strstr(jwk_.text, "secret"));
    EXPECT_EQ("", read_jwk(ec(",\"key_ops\":[\"verify\",\"sign\"]")));
    for (const char *more :
         {",\"use\":\"enc\"", ",\"key_ops\":[\"encrypt\"]", ",\"key_ops\":\"verify\"",
          ",\"alg\":\"ES384\"", ",\"alg\":\"HS256\"", ",\"alg\":\"RS256\"", ",\"alg\":\"ES521\"",
          ",\"kid\":1", ",\"use\":1"})
        EXPECT_NE("", read_jwk(ec(more))) << more;
}

TEST_F(Jose, PadsShortCoordinates)
{
    ASSERT_EQ("", read_jwk("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AQI\",\"y\":\"Aw\"}"));
    EXPECT_EQ("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" +
                  encode(std::string(30, '\0') + "\1\2") + "\",\"y\":\"" +
                  encode(std::string(31, '\0') + "\3") + "\"}",
              jwk_.text);
}

TEST_F(Jose, RefusesWrongCurvesAndTypes)
{
    EXPECT_NE("", read_jwk(std::string("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AAAA") + X +
                           "\",\"y\":\"" + Y + "\"}"));
    EXPECT_NE("", read_jwk(std::string("{\"kty\":\"EC\",\"crv\":\"secp256k1\",\"x\":\"") + X +
                           "\",\"y\":\"" + Y + "\"}"));
    EXPECT_NE("", read_jwk(std::string("{\"kty\":\"RSA\",\"crv\":\"P-256\",\"x\":\"") + X +
                           "\",\"y\":\"" + Y + "\"}"));
    EXPECT_NE("", read_jwk(std::string("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"") + X + "\"}"));
    EXPECT_NE("", read_jwk("{\"kty\":\"oct\",\"k\":\"AAAA\"}"));
    EXPECT_NE("", read_jwk("{}"));
    EXPECT_NE("", read_jwk("[]"));
}

TEST_F(Jose, RefusesWeakRsaKeys)
{
    std::string good(256, '\xc5');
    EXPECT_EQ("", read_jwk(rsa(encode(good), "AQAB")));
    EXPECT_EQ("", read_jwk(rsa(encode(good), "Aw"))); // 3
    EXPECT_EQ("", read_jwk(rsa(encode(std::string(1, '\0') + good), "AQAB")));
    EXPECT_EQ(256u, jwk_.size);
    EXPECT_NE("", read_jwk(rsa(encode(good.substr(1)), "AQAB")));          // 2040 bits
    EXPECT_NE("", read_jwk(rsa(encode("\x7f" + good.substr(1)), "AQAB"))); // 2047 bits
    EXPECT_NE("", read_jwk(rsa(encode(std::string(1025, '\xc5')), "AQAB")));
    EXPECT_NE("", read_jwk(rsa(encode(good.substr(1) + "\xc4"), "AQAB"))); // even
    for (const char *e : {"AQ", "Ag", "AA", "AAE", "AQABAQABAQABAQAB", "", "A=", "AB"})
        EXPECT_NE("", read_jwk(rsa(encode(good), e))) << e;
    EXPECT_NE("", read_jwk(rsa(encode(good) + "=", "AQAB")));
}

TEST_F(Jose, RefusesRocaKeys)
{
    // 1 modulo all the first primes is a power of 65537 modulo each of them: their product,
    // shifted up and plus 1, carries the mark.
    uint8_t product[300] = {0};
    product[299] = 1;
    auto multiply = [&](uint32_t factor) {
        uint32_t carry = 0;
        for (int i = 299; i >= 0; i--) {
            carry += product[i] * factor;
            product[i] = (uint8_t)carry;
            carry >>= 8;
        }
    };
    for (uint32_t p = 2; p <= 167; p++) {
        bool prime = true;
        for (uint32_t q = 2; q * q <= p; q++)
            prime = prime && p % q != 0;
        if (prime)
            multiply(p);
    }
    while (product[300 - 256] < 0x80)
        multiply(2);
    product[299] += 1;
    std::string marked((const char *)product + 300 - 256, 256);
    EXPECT_NE("", read_jwk(rsa(encode(marked), "AQAB")));
    marked[200] = (char)(marked[200] + 1);
    EXPECT_EQ("", read_jwk(rsa(encode(marked), "AQAB")));
}

TEST_F(Jose, AKeysAlgIsAFloorInItsFamily)
{
    std::string n = encode(std::string(256, '\xc5'));
    ASSERT_EQ("", read_jwk(rsa(n, "AQAB", ",\"alg\":\"PS384\"")));
    EXPECT_FALSE(jose_jwk_fits(&jwk_, jose_alg_find("PS256")));
    EXPECT_TRUE(jose_jwk_fits(&jwk_, jose_alg_find("PS384")));
    EXPECT_TRUE(jose_jwk_fits(&jwk_, jose_alg_find("PS512")));
    EXPECT_FALSE(jose_jwk_fits(&jwk_, jose_alg_find("RS384")));
    EXPECT_FALSE(jose_jwk_fits(&jwk_, jose_alg_find("RS512")));
    EXPECT_FALSE(jose_jwk_fits(&jwk_, jose_alg_find("ES384")));
    ASSERT_EQ("", read_jwk(rsa(n, "AQAB")));
    EXPECT_TRUE(jose_jwk_fits(&jwk_, jose_alg_find("RS256")));
    ASSERT_EQ("", read_jwk(ec()));
    EXPECT_TRUE(jose_jwk_fits(&jwk_, jose_alg_find("ES256")));
    EXPECT_FALSE(jose_jwk_fits(&jwk_, jose_alg_find("ES384")));
    EXPECT_FALSE(jose_jwk_fits(&jwk_, jose_alg_find("RS256")));
}

} // namespace
