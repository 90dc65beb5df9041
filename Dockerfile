# The one binary in an image without anything else: `gwanmun controller` and `gwanmun gateway`.
#
#   docker build --tag gwanmun:0.1.0 .
FROM docker.io/library/rust:1.95-alpine AS build
# A C and C++ compiler, for aws-lc; static against musl.
RUN apk add --no-cache build-base clang cmake linux-headers perl
WORKDIR /src
COPY . .
RUN RUSTUP_TOOLCHAIN=1.95.0 cargo build --release --locked --package gwanmun

FROM gcr.io/distroless/static-debian12:nonroot
COPY --from=build /src/target/release/gwanmun /usr/local/bin/gwanmun
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/gwanmun"]
