# Runs the tests with the Node of the images: docker compose --profile test run --rm --build test
ARG NODE_IMAGE=node:24.21.0-slim
FROM ${NODE_IMAGE} AS manifests
WORKDIR /all
COPY . .
RUN find . -type f ! -path './package*.json' ! -path './*/*/package.json' -delete

FROM ${NODE_IMAGE}
# Tests run the curl commands of the README, and make certificates with openssl.
RUN apt-get update && apt-get install -y --no-install-recommends curl openssl ca-certificates && rm -rf /var/lib/apt/lists/*
WORKDIR /app
# Copy only the manifests first, so that a change of code does not install the dependencies again.
COPY --from=manifests /all ./
RUN --mount=type=cache,target=/root/.npm npm ci
# Owned by node, because a test copies a service and writes a migration into it.
COPY --chown=node:node . .
USER node
ENV NPM_CONFIG_UPDATE_NOTIFIER=false
CMD ["npm", "test"]
