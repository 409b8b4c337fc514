"""Every repository the build uses, all of them on this machine."""

load("//bazel:pkgconfig.bzl", "pkgconfig_repository")
load("//bazel:protoc.bzl", "protoc_repository")

# name -> (pkg-config modules, linker flags of libraries without a .pc file, header that must
# exist, Debian package).  Targets are @name//:name.
_SYSTEM_LIBRARIES = {
    "cjose": (["cjose"], [], "cjose/cjose.h", "libcjose-dev"),
    "curl": (["libcurl"], [], "curl/curl.h", "libcurl4-openssl-dev"),
    "geos": (["geos"], [], "geos_c.h", "libgeos-dev"),
    "gmock": (["gmock"], [], "gmock/gmock.h", "libgmock-dev"),
    "grpc": (["grpc"], [], "grpc/grpc.h", "libgrpc-dev"),
    "grpcpp": (["grpc++"], [], "grpcpp/grpcpp.h", "libgrpc++-dev"),
    "gtest": (["gtest"], [], "gtest/gtest.h", "libgtest-dev"),
    "gtest_main": (["gtest_main"], [], "gtest/gtest.h", "libgtest-dev"),
    "hiredis": (["hiredis"], [], "hiredis/hiredis.h", "libhiredis-dev"),
    "jansson": (["jansson"], [], "jansson.h", "libjansson-dev"),
    "libpq": (["libpq"], [], "postgresql/libpq-fe.h", "libpq-dev"),
    "libuv": (["libuv"], [], "uv.h", "libuv1-dev"),
    "microhttpd": (["libmicrohttpd"], [], "microhttpd.h", "libmicrohttpd-dev"),
    "oauth2": (["liboauth2", "cjose", "jansson", "libcurl", "openssl"], [], "oauth2/oauth2.h", "liboauth2-dev"),
    "openssl": (["openssl"], [], "openssl/ssl.h", "libssl-dev"),
    "proj": (["proj"], [], "geodesic.h", "libproj-dev"),
    "protobuf": (["protobuf"], [], "google/protobuf/message.h", "libprotobuf-dev"),
    "protobuf_c": (["libprotobuf-c"], [], "protobuf-c/protobuf-c.h", "libprotobuf-c-dev"),
    "re2": (["re2"], [], "re2/re2.h", "libre2-dev"),
    "urcu": (["liburcu", "liburcu-cds"], [], "urcu.h", "liburcu-dev"),
    "uthash": ([], [], "uthash.h", "uthash-dev"),
    "yaml": (["yaml-0.1"], [], "yaml.h", "libyaml-dev"),
    "zlib": (["zlib"], [], "zlib.h", "zlib1g-dev"),
}

def waymark_repositories():
    """Declares the repositories of Bazel's own rules and of the system libraries."""

    # Bazel's C++ rules load these; Debian ships them in bazel-rules-java and bazel-rules-proto.
    native.local_repository(name = "rules_java", path = "/usr/share/bazel/rules/java")
    native.local_repository(name = "rules_proto", path = "/usr/share/bazel/rules/proto")

    # Debian has no rules_cc, and cc_test asks for coverage tools: ours forward or are empty.
    native.local_repository(name = "rules_cc", path = "bazel/third_party/rules_cc")
    native.local_repository(
        name = "remote_coverage_tools",
        path = "bazel/third_party/remote_coverage_tools",
    )

    protoc_repository(name = "protoc")

    for name, (modules, linkopts, header, package) in _SYSTEM_LIBRARIES.items():
        pkgconfig_repository(
            name = name,
            modules = modules,
            linkopts = linkopts,
            header = header,
            debian_package = package,
        )
