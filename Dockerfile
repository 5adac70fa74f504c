FROM node:22-bookworm-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY . .
RUN npm run build && npm prune --omit=dev

FROM node:22-bookworm-slim
WORKDIR /app
ENV NODE_ENV=production
COPY --from=build /app/package.json ./
COPY --from=build /app/node_modules ./node_modules
COPY --from=build /app/dist ./dist
RUN mkdir -p /home/node/.cache/chairlift && chown -R node:node /home/node/.cache
USER node
EXPOSE 8080
ENTRYPOINT ["node", "dist/src/cli/chairlift.js"]
CMD ["serve", "--host", "0.0.0.0"]
