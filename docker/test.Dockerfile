# The tests, in the Node of the images: docker compose --profile test run --rm --build test
FROM node:24-slim
# The test of the README runs its curl commands.
RUN apt-get update && apt-get install -y --no-install-recommends curl && rm -rf /var/lib/apt/lists/*
WORKDIR /app
COPY package.json package-lock.json ./
COPY packages/shared/package.json packages/shared/
COPY services/gateway/package.json services/gateway/
COPY services/users/package.json services/users/
COPY services/promotions/package.json services/promotions/
COPY services/subscriptions/package.json services/subscriptions/
RUN --mount=type=cache,target=/root/.npm npm ci --no-audit --no-fund
# A test copies a service and writes a migration into it.
COPY --chown=node:node . .
USER node
ENV NPM_CONFIG_UPDATE_NOTIFIER=false
CMD ["npm", "test"]
