# The image of waymarkd: built from this checkout by Bazel, then only what runs.
#
#     docker build -t waymark .        (or ./dev image, which also works without Docker)
#     docker run -p 7654:7654 -e WAYMARKD_POSTGRES=... -e WAYMARKD_ISSUER=... waymark
#
# waymarkd reads its options from the environment too: WAYMARKD_POSTGRES for --postgres.
ARG BASE=debian:12-slim

FROM ${BASE} AS build
WORKDIR /src
# The packages first: this layer stays when only the code changes.
COPY dev ./
COPY dev.d ./dev.d
RUN ./dev build --packages
COPY . .
# The Debian packages that hold the libraries the programs link are found by asking for them.
RUN ./dev build --programs \
    && mkdir -p /out/bin \
    && cp .waymark/bin/waymarkd .waymark/bin/waymark /out/bin/ \
    && ldd /out/bin/* | sed -n 's|.*=> .*/\(lib[^ ]*\) .*|*/\1|p' | sort -u \
        | xargs dpkg-query -S | sed 's/:.*//' | sort -u >/out/packages

FROM ${BASE}
COPY --from=build /out/packages /usr/share/waymark/packages
RUN apt-get update \
    && xargs apt-get install -y --no-install-recommends ca-certificates </usr/share/waymark/packages \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 7654 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin waymark
COPY --from=build /out/bin/ /usr/local/bin/
COPY LICENSE NOTICE /usr/share/doc/waymark/
USER 7654:7654
ENV WAYMARKD_LISTEN=0.0.0.0:7654
EXPOSE 7654
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s \
    CMD ["waymark", "--address", "127.0.0.1:7654", "health"]
ENTRYPOINT ["waymarkd"]
CMD ["serve"]
