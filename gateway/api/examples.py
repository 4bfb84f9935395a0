"""Examples for the published document: requests that work, answers, and errors."""

from typing import Any

from gateway.chat.dialects import Dialect

_MESSAGES = [{"role": "user", "content": "Where does the toll road lead?"}]
_NOT_FOUND = "There is no model `gpt-4o-mni` here; the nearest names are `openai/gpt-4o-mini`"
_NO_KEY = "no API key was sent; send it as 'Authorization: Bearer KEY', 'X-API-Key: KEY', or as …"
_MISSING = "`messages` is missing; send a list of at least one message."

CHAT_REQUEST: dict[str, Any] = {
    "plain": {"model": "gpt-4o-mini", "messages": _MESSAGES},
    "streamed": {
        "model": "gpt-4o-mini",
        "messages": _MESSAGES,
        "stream": True,
        "stream_options": {"include_usage": True},
    },
    "with fallbacks and a price cap": {
        "models": ["gpt-4o-mini", "llama-3.3-70b-instruct"],
        "messages": _MESSAGES,
        "provider": {"ignore": ["azure"], "max_price": {"prompt": 0.5, "completion": 2}},
    },
    "with a tool": {
        "model": "gpt-4o-mini",
        "messages": _MESSAGES,
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "find_road",
                    "parameters": {"type": "object", "properties": {"name": {"type": "string"}}},
                },
            }
        ],
    },
}

CHAT_ANSWER: dict[str, Any] = {
    "id": "gen-019aa5c0d4a87c3c8f1e2d3c4b5a6978",
    "object": "chat.completion",
    "created": 1795257000,
    "model": "openai/gpt-4o-mini",
    "provider": "openai",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "To the other side."},
            "finish_reason": "stop",
            "native_finish_reason": "stop",
        }
    ],
    "usage": {
        "prompt_tokens": 14,
        "completion_tokens": 5,
        "total_tokens": 19,
        "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
        "reasoning_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation_input_tokens": 0,
        "cost": 0.0000051,
        "is_byok": False,
        "cost_details": {
            "upstream_inference_cost": 0.0000051,
            "upstream_inference_prompt_cost": 0.0000021,
            "upstream_inference_completions_cost": 0.000003,
        },
        "cost_usd_total": 0.0000051,
        "cost_usd_input": 0.0000021,
        "cost_usd_output": 0.000003,
        "cost_usd_cached_input": 0,
        "cost_usd_cache_write": 0,
        "cost_usd_request": 0,
        "cost_usd_web_search": 0,
        "cost_status": "exact",
    },
    "metadata": {
        "requested_model": "gpt-4o-mini",
        "requested_provider": None,
        "used_model": "openai/gpt-4o-mini",
        "used_provider": "openai",
        "underlying_used_model": "gpt-4o-mini-2024-07-18",
        "routing": [
            {
                "provider": "openai",
                "model": "gpt-4o-mini",
                "status_code": 200,
                "error_type": "none",
                "succeeded": True,
                "outcome": "success",
                "duration_ms": 812.5,
                "ttft_ms": None,
            }
        ],
        "attempts": 1,
        "strategy": "price-weighted",
        "warnings": [],
    },
}

EMBEDDING_REQUEST: dict[str, Any] = {
    "two texts": {"model": "text-embedding-3-small", "input": ["a toll road", "a highway"]}
}

SELECT_REQUEST: dict[str, Any] = {
    "prompt": {"models": ["gpt-4o-mini", "gpt-4o"], "prompt": "Where does the toll road lead?"},
    "chat request": {"model": "gpt-4o-mini", "messages": _MESSAGES},
}

SELECT_ANSWER: dict[str, Any] = {
    "provider": "openai",
    "model": "openai/gpt-4o-mini",
    "endpoint": "openai/gpt-4o-mini",
    "expected_cost_usd": 0.0003015,
    "alternatives": [
        {
            "provider": "azure",
            "model": "openai/gpt-4o-mini",
            "endpoint": "azure/gpt-4o-mini",
            "expected_cost_usd": 0.0003015,
        }
    ],
    "strategy": "price-weighted",
    "cache_tier": None,
    "excluded": [],
}

MESSAGES_REQUEST: dict[str, Any] = {
    "question": {
        "model": "anthropic/claude-haiku-4.5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": "Where does the toll road lead?"}],
    }
}

ERRORS: dict[Dialect, dict[int, Any]] = {
    Dialect.OPENAI: {
        400: {
            "error": {
                "message": _MISSING,
                "type": "invalid_request_error",
                "param": "messages",
                "code": "missing",
            }
        },
        401: {
            "error": {
                "message": _NO_KEY,
                "type": "authentication_error",
                "param": None,
                "code": "missing_api_key",
            }
        },
        404: {
            "error": {
                "message": _NOT_FOUND,
                "type": "invalid_request_error",
                "param": "model",
                "code": "model_not_found",
                "metadata": {"nearest": ["openai/gpt-4o-mini"]},
            }
        },
    },
    Dialect.OPENROUTER: {
        400: {
            "error": {
                "code": 400,
                "message": _MISSING,
                "metadata": {
                    "error_type": "invalid_request_error",
                    "error_code": "missing",
                    "param": "messages",
                },
            },
            "user_id": None,
        },
        404: {
            "error": {
                "code": 404,
                "message": _NOT_FOUND,
                "metadata": {
                    "error_type": "invalid_request_error",
                    "error_code": "model_not_found",
                    "param": "model",
                    "nearest": ["openai/gpt-4o-mini"],
                },
            },
            "user_id": None,
        },
    },
    Dialect.FASTAPI: {
        404: {"detail": _NOT_FOUND},
        422: {"detail": [{"type": "missing", "loc": ["body", "messages"], "msg": _MISSING}]},
    },
    Dialect.ANTHROPIC: {
        404: {
            "type": "error",
            "error": {
                "type": "not_found_error",
                "message": _NOT_FOUND,
                "param": "model",
                "code": "model_not_found",
                "metadata": {"nearest": ["openai/gpt-4o-mini"]},
            },
            "request_id": None,
        },
    },
}
