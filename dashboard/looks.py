"""How the dashboard looks and behaves, as Streamlit's options: the one place where colours live."""

PROVIDER_COLOURS: tuple[tuple[str, str], ...] = (
    ("#355bcb", "#6889db"),
    ("#dd6905", "#ea884d"),
    ("#058d6c", "#5bbb9a"),
    ("#5b34a1", "#845dd7"),
    ("#c04c9d", "#f2a4d6"),
    ("#809240", "#c4dd6a"),
    ("#2e9dc0", "#4dcffa"),
    ("#5b2519", "#987369"),
    ("#8d95a3", "#7b8494"),
)
"""Light and dark, by slot; the last is "Other". Told apart by colour-blind readers too."""

OTHER_SLOT = len(PROVIDER_COLOURS) - 1

_LESS_TO_MORE_LIGHT = [
    "#eef3fc",
    "#d9e4f9",
    "#bfd1f4",
    "#a1bbee",
    "#82a2e6",
    "#648adc",
    "#4a72d2",
    "#355bcb",
    "#2747a3",
    "#1a3276",
]
_LESS_TO_MORE_DARK = [
    "#171d2e",
    "#1e2947",
    "#263763",
    "#304780",
    "#3c589d",
    "#4c6cb9",
    "#6889db",
    "#8aa6e8",
    "#b0c5f2",
    "#d8e3fa",
]

_BEHAVIOUR: dict[str, object] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "logger.level": "warning",
    "runner.magicEnabled": False,
    "server.enableCORS": True,
    "server.enableStaticServing": False,
    "server.enableXsrfProtection": True,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.runOnSave": False,
    "server.showEmailPrompt": False,
}

_SIZES: dict[str, object] = {
    "theme.baseFontSize": 15,
    "theme.baseRadius": "0.5rem",
    "theme.buttonRadius": "0.4rem",
    "theme.headingFontWeights": [650, 600, 600, 600, 600, 600],
    "theme.linkUnderline": False,
    "theme.paddingTop": "0.25rem",
    "theme.paddingBottom": "3rem",
    "theme.showWidgetBorder": True,
}

_LIGHT: dict[str, object] = {
    "backgroundColor": "#ffffff",
    "secondaryBackgroundColor": "#f5f6f8",
    "codeBackgroundColor": "#f5f6f8",
    "codeTextColor": "#1b1f27",
    "textColor": "#1b1f27",
    "borderColor": "#e2e5ea",
    "primaryColor": "#2f5bd0",
    "linkColor": "#2f5bd0",
    "greenColor": "#1a8754",
    "greenTextColor": "#11663e",
    "greenBackgroundColor": "#e6f5ec",
    "redColor": "#c8322b",
    "redTextColor": "#a8261f",
    "redBackgroundColor": "#fdecea",
    "orangeColor": "#d9731a",
    "orangeTextColor": "#8f4a0a",
    "orangeBackgroundColor": "#fdf1e3",
    "blueColor": "#355bcb",
    "blueTextColor": "#2747a3",
    "blueBackgroundColor": "#eef3fc",
    "grayColor": "#8d95a3",
    "grayTextColor": "#5b6472",
    "grayBackgroundColor": "#eef0f3",
    "dataframeHeaderBackgroundColor": "#f8f9fa",
    "chartSequentialColors": _LESS_TO_MORE_LIGHT,
    "chartCategoricalColors": [light for light, _ in PROVIDER_COLOURS],
}

_DARK: dict[str, object] = {
    "backgroundColor": "#12141a",
    "secondaryBackgroundColor": "#1b1e26",
    "codeBackgroundColor": "#1b1e26",
    "codeTextColor": "#e8eaf0",
    "textColor": "#e8eaf0",
    "borderColor": "#2c313c",
    "primaryColor": "#4f74da",
    "linkColor": "#6889db",
    "greenColor": "#4fbf8a",
    "greenTextColor": "#7bd6aa",
    "greenBackgroundColor": "#12301f",
    "redColor": "#ee6a60",
    "redTextColor": "#f79b93",
    "redBackgroundColor": "#3a1d1c",
    "orangeColor": "#ea9a4d",
    "orangeTextColor": "#f2b87f",
    "orangeBackgroundColor": "#38270f",
    "blueColor": "#6889db",
    "blueTextColor": "#a3b9f2",
    "blueBackgroundColor": "#1e2947",
    "grayColor": "#7b8494",
    "grayTextColor": "#a4adbb",
    "grayBackgroundColor": "#242832",
    "dataframeHeaderBackgroundColor": "#181b22",
    "chartSequentialColors": _LESS_TO_MORE_DARK,
    "chartCategoricalColors": [dark for _, dark in PROVIDER_COLOURS],
}

OPTIONS: dict[str, object] = (
    _BEHAVIOUR
    | _SIZES
    | {f"theme.light.{name}": value for name, value in _LIGHT.items()}
    | {f"theme.dark.{name}": value for name, value in _DARK.items()}
)
"""Set in code rather than in a file, so that they hold in whatever directory the process starts."""
