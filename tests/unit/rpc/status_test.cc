// A wm_err on the wire: google.rpc.Status with the details that apply.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "google/rpc/error_details.pb-c.h"
#include "google/rpc/status.pb-c.h"
#include "server/rpc/internal.h"

namespace {

class Packed {
  public:
    explicit Packed(const wm_err &err, const std::vector<wm_err> &violations = {})
    {
        rpc_status_pack(&err, violations.data(), violations.size(), "waymark", 0xabc, &message_,
                        &details_);
        status = google__rpc__status__unpack(nullptr, GRPC_SLICE_LENGTH(details_),
                                             GRPC_SLICE_START_PTR(details_));
    }
    ~Packed()
    {
        if (status != nullptr)
            google__rpc__status__free_unpacked(status, nullptr);
        grpc_slice_unref(message_);
        grpc_slice_unref(details_);
    }
    Packed(const Packed &) = delete;
    Packed &operator=(const Packed &) = delete;

    std::string message() const
    {
        return std::string(reinterpret_cast<const char *>(GRPC_SLICE_START_PTR(message_)),
                           GRPC_SLICE_LENGTH(message_));
    }
    const ProtobufCBinaryData &value(size_t i) const
    {
        return status->details[i]->value;
    }
    Google__Rpc__Status *status = nullptr;

  private:
    grpc_slice message_, details_;
};

TEST(RpcStatus, CarriesReasonAndDomain)
{
    wm_err err = {};
    ASSERT_EQ(wm_fail(&err, WM_NOT_FOUND, "ENTITY_NOT_FOUND", "no entity %s", "a"), WM_NOT_FOUND);
    Packed packed(err);

    ASSERT_NE(packed.status, nullptr);
    EXPECT_EQ(packed.message(), "no entity a");
    EXPECT_EQ(packed.status->code, 5);
    EXPECT_STREQ(packed.status->message, "no entity a");
    ASSERT_EQ(packed.status->n_details, 1u);
    EXPECT_STREQ(packed.status->details[0]->type_url, "type.googleapis.com/google.rpc.ErrorInfo");
    auto *info =
        google__rpc__error_info__unpack(nullptr, packed.value(0).len, packed.value(0).data);
    ASSERT_NE(info, nullptr);
    EXPECT_STREQ(info->reason, "ENTITY_NOT_FOUND");
    EXPECT_STREQ(info->domain, "waymark");
    google__rpc__error_info__free_unpacked(info, nullptr);
}

TEST(RpcStatus, NamesTheFieldAndWhenToComeBack)
{
    wm_err err = {};
    ASSERT_EQ(wm_fail_field(&err, "positions[3].lat_deg", "COORDINATE_OUT_OF_RANGE", "it is 91"),
              WM_INVALID);
    err.retry_after_ms = 2250;
    Packed packed(err);

    ASSERT_EQ(packed.status->n_details, 3u);
    auto *request =
        google__rpc__bad_request__unpack(nullptr, packed.value(1).len, packed.value(1).data);
    ASSERT_EQ(request->n_field_violations, 1u);
    EXPECT_STREQ(request->field_violations[0]->field, "positions[3].lat_deg");
    google__rpc__bad_request__free_unpacked(request, nullptr);
    auto *retry =
        google__rpc__retry_info__unpack(nullptr, packed.value(2).len, packed.value(2).data);
    EXPECT_EQ(retry->retry_delay->seconds, 2);
    EXPECT_EQ(retry->retry_delay->nanos, 250000000);
    google__rpc__retry_info__free_unpacked(retry, nullptr);
}

TEST(RpcStatus, InternalErrorsNameTheCall)
{
    wm_err err = {};
    ASSERT_EQ(wm_fail(&err, WM_INTERNAL, "INTERNAL", "broken"), WM_INTERNAL);
    EXPECT_EQ(Packed(err).message(), "broken (call 0000000000000abc)");
}

TEST(RpcStatus, TheLongestErrorFits)
{
    wm_err err = {};
    std::string longest(1000, 'x');
    ASSERT_EQ(wm_fail_field(&err, longest.c_str(), longest.c_str(), "%s", longest.c_str()),
              WM_INVALID);
    err.code = WM_INTERNAL;
    err.retry_after_ms = UINT32_MAX;
    Packed packed(err);

    ASSERT_NE(packed.status, nullptr);
    EXPECT_EQ(packed.status->n_details, 3u);
}

TEST(RpcStatus, ListsAllViolationsThatFit)
{
    wm_err err = {};
    std::vector<wm_err> violations(50);
    ASSERT_EQ(wm_fail(&err, WM_INVALID, "CHART_INVALID", "the chart has errors"), WM_INVALID);
    for (size_t i = 0; i < violations.size(); i++)
        ASSERT_EQ(wm_fail_field(&violations[i], ("chart.states[" + std::to_string(i) + "]").c_str(),
                                "CHART_INVALID", "%s", std::string(i < 3 ? 10 : 300, 'x').c_str()),
                  WM_INVALID);
    Packed packed(err, violations);

    ASSERT_EQ(packed.status->n_details, 2u);
    auto *request =
        google__rpc__bad_request__unpack(nullptr, packed.value(1).len, packed.value(1).data);
    ASSERT_NE(request, nullptr);
    EXPECT_GT(request->n_field_violations, 10u);
    EXPECT_LT(request->n_field_violations, 50u);
    EXPECT_STREQ(request->field_violations[2]->field, "chart.states[2]");
    EXPECT_LT(google__rpc__status__get_packed_size(packed.status), 5000u);
    google__rpc__bad_request__free_unpacked(request, nullptr);
}

} // namespace
