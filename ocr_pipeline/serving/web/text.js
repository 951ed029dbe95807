// What the page says, in both languages.

const TEXT = {
  en: {
    title: "Read text from pictures",
    skip: "Skip to the content",
    language: "中文",
    languageLabel: "改用中文",
    themeSystem: "Colours: as the system",
    themeLight: "Colours: light",
    themeDark: "Colours: dark",
    startOver: "Start over",
    startTitle: "Pictures and PDF to text",
    startHint: "Drop files here, paste a picture, or choose files.",
    choose: "Choose files",
    formats: "JPEG, PNG, WebP, BMP, TIFF and PDF; several at once",
    private: "Files are sent to this service only. The page keeps nothing.",
    drop: "Drop to read",
    add: "Add files",
    documents: "Files",
    remove: "Remove {name}",
    picture: "Page",
    previous: "Previous page",
    next: "Next page",
    pageOf: "{page} / {count}",
    pageSaid: "Page {page} of {count}",
    zoomOut: "Smaller",
    zoomIn: "Larger",
    zoomFit: "Fit to width",
    zoomFull: "Actual size",
    boxes: "Boxes",
    boxesLines: "Lines",
    boxesWords: "Words",
    boxesCharacters: "Characters",
    text: "Text",
    lines: { one: "1 line", other: "{count} lines" },
    doubts: { one: "1 to check", other: "{count} to check" },
    doubtsLabel: "Go to the next line to check",
    linesLabel: "Lines of the page",
    threshold: "Check below",
    confidence: "{percent} % sure",
    copyAll: "Copy all",
    copied: "Copied",
    copyFailed: "The browser refused to copy",
    download: "Download",
    formText: "Text (.txt)",
    formJson: "JSON (.json)",
    formHocr: "hOCR (.hocr)",
    formAlto: "ALTO (.xml)",
    formPdf: "Searchable PDF (.pdf)",
    preparing: "Preparing {name}",
    noText: "No text was found on this page.",
    waiting: "Waiting",
    waitingFor: "{name} waits its turn.",
    reading: "Reading",
    readingFile: "Reading {name}",
    readingPage: "Reading {name}: {done} of {count} pages",
    loadingModels: "The service loads its models; reading starts by itself.",
    busy: "The service is busy; trying again.",
    cancel: "Cancel",
    close: "Close",
    cancelled: "Cancelled",
    cancelledFile: "{name} was not read.",
    again: "Try again",
    done: { one: "{name}: 1 line", other: "{name}: {count} lines" },
    failed: "Not read",
    partly: "Not read to the end",
    key: "API key",
    keyHint: "Kept in this tab only, until it is closed.",
    keyForm: "A key has Latin letters, digits and signs only, and no spaces.",
    keyUse: "Use this key",
    keyWrong: "The service does not accept this key.",
    serviceReady: "Ready",
    serviceLoading: "Loading models",
    serviceRecovering: "Recovering",
    serviceFailed: "Failed",
    serviceAway: "No connection",
    problem: "That did not work",
    problem401: "An API key is needed",
    problem403: "Not allowed",
    problem408: "The upload was too slow",
    problem413: "The file is too large",
    problem415: "Not a picture or PDF",
    problem422: "The file cannot be read",
    problem429: "Too many requests",
    problem500: "The service failed",
    problem502: "A proxy cannot reach the service",
    problem503: "The service is busy",
    problem504: "It took too long",
    problemAway: "The service cannot be reached",
    problemAwayDetail: "Check the connection and try again.",
    status: "Status {status}",
  },
  zh: {
    title: "图片文字识别",
    skip: "跳到正文",
    language: "English",
    languageLabel: "Switch to English",
    themeSystem: "配色：跟随系统",
    themeLight: "配色：浅色",
    themeDark: "配色：深色",
    startOver: "重新开始",
    startTitle: "图片、PDF 转文字",
    startHint: "把文件拖到这里，粘贴图片，或者选择文件。",
    choose: "选择文件",
    formats: "支持 JPEG、PNG、WebP、BMP、TIFF 和 PDF，可多选",
    private: "文件只发送到本服务，页面不保留任何内容。",
    drop: "松开即开始识别",
    add: "添加文件",
    documents: "文件",
    remove: "移除 {name}",
    picture: "页面",
    previous: "上一页",
    next: "下一页",
    pageOf: "{page} / {count}",
    pageSaid: "第 {page} 页，共 {count} 页",
    zoomOut: "缩小",
    zoomIn: "放大",
    zoomFit: "适合宽度",
    zoomFull: "原始大小",
    boxes: "文字框",
    boxesLines: "行",
    boxesWords: "词",
    boxesCharacters: "字",
    text: "文字",
    lines: { other: "{count} 行" },
    doubts: { other: "{count} 行待核对" },
    doubtsLabel: "转到下一处待核对的行",
    linesLabel: "本页各行文字",
    threshold: "核对低于",
    confidence: "把握 {percent}%",
    copyAll: "复制全部",
    copied: "已复制",
    copyFailed: "浏览器不允许复制",
    download: "下载",
    formText: "纯文本 (.txt)",
    formJson: "JSON (.json)",
    formHocr: "hOCR (.hocr)",
    formAlto: "ALTO (.xml)",
    formPdf: "可搜索 PDF (.pdf)",
    preparing: "正在准备 {name}",
    noText: "本页没有找到文字。",
    waiting: "等待中",
    waitingFor: "{name} 正在排队。",
    reading: "识别中",
    readingFile: "正在识别 {name}",
    readingPage: "正在识别 {name}：共 {count} 页，已完成 {done} 页",
    loadingModels: "服务正在加载模型，完成后自动开始识别。",
    busy: "服务繁忙，正在重试。",
    cancel: "取消",
    close: "关闭",
    cancelled: "已取消",
    cancelledFile: "{name} 未识别。",
    again: "重试",
    done: { other: "{name}：{count} 行" },
    failed: "未能识别",
    partly: "未能全部识别",
    key: "API 密钥",
    keyHint: "只保存在当前标签页，关闭即清除。",
    keyForm: "密钥只含英文字母、数字和半角符号，不含空格。",
    keyUse: "使用此密钥",
    keyWrong: "服务不接受这个密钥。",
    serviceReady: "就绪",
    serviceLoading: "正在加载模型",
    serviceRecovering: "正在恢复",
    serviceFailed: "服务故障",
    serviceAway: "无法连接",
    problem: "操作未成功",
    problem401: "需要 API 密钥",
    problem403: "没有权限",
    problem408: "上传太慢",
    problem413: "文件太大",
    problem415: "不是图片或 PDF",
    problem422: "无法读取该文件",
    problem429: "请求过多",
    problem500: "服务出错",
    problem502: "代理无法连接到服务",
    problem503: "服务繁忙",
    problem504: "识别超时",
    problemAway: "无法连接到服务",
    problemAwayDetail: "请检查网络连接，然后重试。",
    status: "状态码 {status}",
  },
};

export const LANGUAGES = Object.keys(TEXT);

let language = "en";
let plural = new Intl.PluralRules("en");

/** The first language of the browser's that the page speaks; English where there is none. */
export function preferredLanguage(wanted = navigator.languages) {
  const short = wanted.map((tag) => tag.toLowerCase().split("-")[0]);
  return short.find((tag) => LANGUAGES.includes(tag)) ?? "en";
}

export function setLanguage(name) {
  language = LANGUAGES.includes(name) ? name : "en";
  plural = new Intl.PluralRules(language);
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
  document.title = t("title");
  for (const element of document.querySelectorAll("[data-text]")) {
    element.textContent = t(element.dataset.text);
  }
  for (const element of document.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", t(element.dataset.label));
  }
  for (const element of document.querySelectorAll("[data-hint]")) {
    element.title = t(element.dataset.hint);
    element.setAttribute("aria-label", t(element.dataset.hint));
  }
}

export function hasText(key) {
  return key in TEXT[language];
}

/** A text with its {names} filled in; of one with plural forms, the one for `values.count`. */
export function t(key, values = {}) {
  const found = TEXT[language][key];
  const form = typeof found === "string" ? found : (found[plural.select(values.count)] ?? found.other);
  return form.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

/** Keys that one language lacks; none, or the page is not translated whole. */
export function untranslated() {
  const all = new Set(LANGUAGES.flatMap((name) => Object.keys(TEXT[name])));
  return [...all].filter((key) => !LANGUAGES.every((name) => TEXT[name][key]));
}
