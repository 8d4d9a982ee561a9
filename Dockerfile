# Both images can be replaced, for example by copies in a registry of your own.
ARG BASE=docker.io/library/golang:1.26
ARG RUNTIME=gcr.io/distroless/static:nonroot

FROM ${BASE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api api
COPY cmd/sysdig-metrics-operator cmd/sysdig-metrics-operator
COPY controllers controllers
COPY internal internal
ARG VERSION=dev
ENV CGO_ENABLED=0
RUN --mount=type=cache,target=/root/.cache/go-build \
    go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /sysdig-metrics-operator ./cmd/sysdig-metrics-operator

FROM ${RUNTIME}
COPY --from=build /sysdig-metrics-operator /sysdig-metrics-operator
USER 65532:65532
ENTRYPOINT ["/sysdig-metrics-operator"]
