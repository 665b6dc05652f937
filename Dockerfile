# SPDX-License-Identifier: Apache-2.0

# The build stage runs on the builder's own platform and cross-compiles: no emulation.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api/ api/
COPY cmd/ cmd/
COPY internal/ internal/
# After the download, which a new version would make again.
ARG TARGETOS
ARG TARGETARCH
ARG VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -ldflags "-s -w -X main.version=$VERSION" -o /oauth-operator ./cmd/oauth-operator

FROM gcr.io/distroless/static:nonroot
COPY --from=build /oauth-operator /oauth-operator
USER 65532:65532
ENTRYPOINT ["/oauth-operator"]
