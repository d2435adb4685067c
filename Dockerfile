# The image of every service and of `imagectl`; the command decides which of them runs.
FROM python:3.12-slim AS build
RUN pip install --no-cache-dir uv==0.13.9
WORKDIR /app
ENV UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never
COPY pyproject.toml uv.lock README.md ./
RUN uv sync --frozen --no-default-groups --no-install-project
COPY services services
COPY shared shared
COPY ops ops
COPY local/__init__.py local/__init__.py
RUN uv sync --frozen --no-default-groups --no-editable

FROM python:3.12-slim
RUN useradd --system --uid 10001 --home-dir /app --shell /usr/sbin/nologin images
WORKDIR /app
COPY --from=build /app/.venv /app/.venv
ENV PATH=/app/.venv/bin:$PATH PYTHONUNBUFFERED=1 IMAGES_HOST=0.0.0.0
USER images
ENTRYPOINT ["python", "-m"]
CMD ["services.resolver"]
