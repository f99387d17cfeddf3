# 拒絕與輸入錯誤的句子。每一句都說明發生了什麼、原因，以及接下來可以怎麼做。
duration-hours = { $n } 小時
duration-minutes = { $n } 分
duration-seconds = { $n } 秒

allowed-start = { $gpus } 個 GPU、{ $time }
allowed-or = { "" } 或 { "" }
allowed-nothing = 目前都不行

refusal-asked = 申請：{ $gpus } 個 GPU、{ $seconds }，將保留 { $hold } GPU 小時。

balance-too-low = 「{ $profile }」未啟動：專案「{ $project }」剩餘的 GPU 小時不足。
    申請：{ $gpus } 個 GPU、{ $seconds } = 需保留 { $hold } GPU 小時。
    剩餘：{ $left } GPU 小時。
    目前可啟動：{ $allowed }。
    申請更多：{ $more }
balance-changed = 同一時間有另一個啟動用掉了這些 GPU 小時，因此沒有啟動任何東西。請再試一次；剩餘時數請見入口網頁。
no-award = 「{ $profile }」未啟動：專案「{ $project }」目前沒有有效的核配，因此無人付費。
    申請：{ $gpus } 個 GPU、{ $seconds } = 需保留 { $hold } GPU 小時。
    申請核配：{ $more }
award-ends-first = 「{ $profile }」未啟動：專案「{ $project }」的核配將在 { $ends_in } 後到期，早於所申請的 { $seconds }。
    需保留 { $hold } GPU 小時；剩餘 { $left }。
    請申請較短的時間，或申請延長核配：{ $more }
cap-member = 「{ $profile }」未啟動：您在專案「{ $project }」中最多可同時持有 { $cap } 個 GPU，目前已持有 { $in_use } 個。
    申請：{ $gpus } 個 GPU、{ $seconds } = 需保留 { $hold } GPU 小時；剩餘 { $left }。
    目前可啟動：{ $allowed }。請關閉不需要的 GPU 核心，或申請提高上限：{ $more }
cap-project = 「{ $profile }」未啟動：專案「{ $project }」最多可同時持有 { $cap } 個 GPU，目前已持有 { $in_use } 個。
    申請：{ $gpus } 個 GPU、{ $seconds } = 需保留 { $hold } GPU 小時；剩餘 { $left }。
    目前可啟動：{ $allowed }。請等待專案的其他核心結束，或申請提高上限：{ $more }
cap-programme = 「{ $profile }」未啟動：專案「{ $project }」所屬計畫最多可同時持有 { $cap } 個 GPU，目前已持有 { $in_use } 個。
    申請：{ $gpus } 個 GPU、{ $seconds } = 需保留 { $hold } GPU 小時；剩餘 { $left }。
    目前可啟動：{ $allowed }。請稍後再試，或洽詢：{ $more }
cap-award = 「{ $profile }」未啟動：專案「{ $project }」的核配最多允許同時使用 { $cap } 個 GPU，目前已使用 { $in_use } 個。
    申請：{ $gpus } 個 GPU、{ $seconds } = 需保留 { $hold } GPU 小時；剩餘 { $left }。
    目前可啟動：{ $allowed }。請關閉不需要的 GPU 核心，或申請提高上限：{ $more }
never-fit-domain = workers：NVLink 網域「{ $where }」內無法同時配置 { $count } × { $gpus } 個 GPU；除了您已持有的之外，最多可配置 { $largest_count } 個。
    未啟動任何項目。請最多再要求 { $largest_count } 個，或允許也配置在其他網域：span="fabric"。
never-fit-pool = workers：資源池「{ $where }」內無法同時配置 { $count } × { $gpus } 個 GPU；除了您已持有的之外，最多可配置 { $largest_count } 個。
    未啟動任何項目。請最多再要求 { $largest_count } 個。
no-room = 目前沒有空間再配置 { $gpus } 個 GPU，而此要求不願等候。未啟動任何項目。
parent-of-worker = parent：只有 worker 可以隸屬於核心的租約。請省略它，或以 kind "worker" 要求。
parent-cannot = parent：租約「{ $lease }」即將結束或本身就是 worker 的租約，因此不能有 worker 隸屬於它。未啟動任何項目。
never-fits = 「{ $profile }」未啟動：以目前提供服務的設備，{ $gpus } 個 GPU 無法配置在一起。
    請選擇較小的方案，或洽詢容量何時恢復：{ $more }

gpus-out-of-range = gpus：無法使用 { $given }；此處可申請 { $least } 到 { $most } 個 GPU。
gpus-not-whole-trays = gpus：無法使用 { $given }；超過 4 個 GPU 時只能租用整個托盤：請申請 { $below } 或 { $above } 個。
gpus-above-profile = gpus：{ $given } 超過「{ $profile }」的數量；請申請 1 到 { $most } 個，或選擇較大的方案。
seconds-out-of-range = seconds：「{ $profile }」無法使用 { $given }；可申請 { $least } 到 { $most } 秒。
invalid-input = { $field }：{ $allowed_text }
mailbox-missing = mailbox：缺少此欄位。租約的節點代理程式會連回它：請送出 address、public_key 與 token（筆記本端會處理）。
not-json = body：這不是 JSON。請以 Content-Type: application/json 送出 JSON 物件。
extend-overtaken = 租約「{ $lease }」同時被另一個要求延長，兩者合計超過方案與核配所允許的上限。此要求未增加任何時間；請查看剩餘時間後再試。
key-missing = 標頭 Idempotency-Key：缺少，或不是 1 到 80 個可列印的 ASCII 字元。請為每個請求產生一個新的值；這樣重複送出時就不會執行兩次。
key-reused = 標頭 Idempotency-Key：先前已用於不同的請求。沒有啟動任何東西；請使用新的值。
body-too-large = 請求超過 { $most } 位元組，未被讀取。請縮小內容。
page-out-of-range = { $field }：無法使用 { $given }；可用範圍為 { $least } 到 { $most }。

project-unknown = project：沒有專案「{ $project }」，或您不是其成員。您的專案列在入口網頁上。
project-exists = project：專案「{ $project }」已存在。請選擇其他簡稱。
programme-unknown = programme：沒有計畫「{ $programme }」，或您無權檢視。
programme-exists = programme：計畫「{ $programme }」已存在。
profile-unknown = profile：沒有已發布的方案「{ $profile }」。啟動頁與 `nvlhub profile list` 會列出現有方案。
pool-unknown = pool：沒有資源池「{ $pool }」。
domain-unknown = domain：此資源池中沒有網域或托盤「{ $domain }」。
award-unknown = award：沒有核配「{ $award }」，或您無權檢視。
lease-unknown = 沒有租約「{ $lease }」，或不是您的。您的租約列在入口網頁上。
lease-over = 租約「{ $lease }」已經結束；未做任何變更。
lease-cannot = 租約「{ $lease }」目前狀態為 { $state }，無法執行此操作；未做任何變更。
dates-reversed = ends：必須晚於 starts。
award-amount = gpu_hours：一次可核配 1 到 10,000,000,000。

login-needed = 您尚未登入，或權杖已過期。請重新登入，或在 Hub 的權杖頁面建立新的權杖。
not-allowed = 您的帳號不能執行此操作。請洽入口網站管理員。
foreign-origin = 此請求來自其他網站的頁面，已被拒絕。請開啟入口網站自己的頁面再試一次。
method-not-allowed = 此位址不接受 { $method } 請求。
not-found = 此位址沒有任何內容。
too-many-requests = 您在短時間內送出太多請求，因此這一個未被處理，也沒有任何變更。請等待 { $wait }後再送出。
portal-failed = 入口網站目前無法完成此操作；沒有收取任何費用。請在一分鐘後再試；若持續發生，請通知管理員。
portal-busy = 入口網站未能及時回應；沒有收取任何費用。請再試一次。

deadline-near = 此租約將在 { $seconds } 後結束。請儲存您的工作，或延長租約：nvlkernels.lease().extend(minutes=60)。
idle-near = 已有一段時間沒有執行任何工作：若不使用，此租約將在 { $seconds } 後收回。

end-user = 已歸還
end-deadline = 時間已到
end-idle = 超過方案的閒置時間沒有執行任何工作
end-preempted = 其他人需要這些 GPU，因此必須讓出
end-engine = 機器故障；時間已退還 { $note }
end-admin = 由管理員結束
end-lost = 超過寬限時間沒有回應
waiting-for-room = 正在等待空位。
waiting-outside = 另有 { $count } 個入口網站以外的工作也在叢集佇列中等候；預估開始時間未將其計入。

extend-too-long = seconds：{ $given } 太長；此租約最多還能延長 { $most_seconds }。請在結束後重新啟動。
extend-balance = 未延長：還需保留 { $hold } GPU 小時，而專案「{ $project }」的核配只剩 { $left }。租約會持續到期限。申請更多：{ $more }
extend-award-ends = 未延長：專案「{ $project }」的核配將在 { $ends_in } 後到期。租約會持續到期限。申請延長核配：{ $more }

user-unknown = user：沒有名為「{ $user }」的使用者。登入過一次的人才會被認得；管理員可以先加入：nvlhub user add NAME。
institution-unknown = institution：沒有機構「{ $institution }」。管理員可以新增。
institution-exists = institution：已經有機構「{ $institution }」。請換一個短名稱。
member-unknown = user：「{ $user }」不是專案「{ $project }」的成員；沒有任何變更。
last-pi = role：專案「{ $project }」會沒有人負責。請先指定另一位 pi。
pool-exists = pool：已經有資源池「{ $pool }」。
pool-not-here = pool：這個入口沒有引擎執行資源池「{ $pool }」，所以無法在那裡啟動任何東西。
request-unknown = request：沒有申請「{ $request }」，或您無權檢視。
dates-past = { $field }：時間已經過去。請給現在之後的時間（Unix 秒）。
budget-below-awarded = gpu_hours：計畫「{ $programme }」已核配 { $awarded } GPU 小時；預算不能比這更少。到期或撤銷的核配會回到計畫。
budget-too-small = gpu_hours：計畫「{ $programme }」在資源池「{ $pool }」還能核配 { $left } GPU 小時，而這次要核配 { $awarded }。沒有核配任何時數。請減少數量，或向管理員申請更多預算。
award-over = 核配 { $award } 已到期或已撤銷，不能再變更；沒有任何變更。請申請續期。
award-ends-before-leases = ends：核配 { $award } 上有 { $count } 個執行中的租約付到該時間之後；沒有任何變更。請選較晚的結束時間，或先結束這些租約。
award-of-other = award：「{ $award }」不是專案「{ $project }」的核配。
request-cannot = 狀態為 { $state } 的申請不能「{ $action }」；沒有任何變更。
request-needs = { $field }：「{ $kind }」類的申請需要這一欄。
request-has-not = { $field }：「{ $kind }」類的申請沒有這一欄；請拿掉。
request-project = project：這個申請屬於專案「{ $project }」；其他專案請另外提出。
transfer-same-pool = pool：這個核配已經在資源池「{ $pool }」；請指定 GPU 小時要移到哪個資源池。
transfer-balance = gpu_hours：核配 { $award } 剩下 { $left } GPU 小時，而這次要移走 { $awarded }。沒有移動任何時數。
extension-not-later = ends：必須晚於核配目前的結束時間。
review-no-amount = gpu_hours：只有核准一個要求 GPU 小時的申請時才需要這一欄。
review-too-much = gpu_hours：{ $given } 超過申請的數量；可以核配 1 到 { $most }。要更多的話，請專案修改申請。
decision-own = 這是您提出的申請，或您是專案「{ $project }」的成員，所以必須由別人決定。沒有任何變更。
match-missing = 標頭 If-Match：缺少。請先讀取目前狀態並送出它的 ETag，才不會蓋掉別人的變更。
match-stale = 您讀取之後已有別人變更；沒有任何變更。請重新讀取，再用新的 ETag 送出。
correct-nothing = gpu_seconds：不能是 0。正數多收，負數退還。
correct-unsettled = lease：只有已結算的租約可以更正；「{ $lease }」還沒結算。沒有任何變更。
correct-too-much = gpu_seconds：租約「{ $lease }」共收 { $charged } GPU 小時，不能退更多。沒有任何變更。
since-future = { $field }：{ $given } 是未來的時間。請提供不晚於 { $most } 的時間（Unix 秒）；省略時比對最近 24 小時。
engine-records = 引擎「{ $engine }」目前無法說明它執行過什麼，因此沒有比對，也沒有任何變更。請在一分鐘後再試；若持續發生，原因請見入口網站的記錄檔。
difference-unknown = difference：沒有差異「{ $difference }」。`nvlhub ledger differences --state all` 會列出所有差異。
difference-closed = 差異 { $difference } 先前已由 { $closed_by } 結案；沒有任何變更。
difference-running = action：租約「{ $lease }」仍在引擎上執行，因此還不知道它用了多少。請先在引擎上結束它，再重新對帳後決定。沒有任何變更。
difference-no-lease = action：差異 { $difference } 背後沒有租約，因此沒有人可以收取。請查明在那裡執行的是什麼，再以查到的結果為理由選擇 accept。沒有任何變更。
difference-balance = action：租約「{ $lease }」的核配沒有剩下 { $held } GPU 小時可以再收。沒有任何變更，差異維持未結案。請增補核配，或選擇 accept 接受差異。
correct-balance = gpu_seconds：租約「{ $lease }」的核配沒有剩下 { $held } GPU 小時可以再收。沒有任何變更。
cap-user = 沒有啟動「{ $profile }」：您在所有專案中最多可同時持有 { $cap } 個 GPU，現在持有 { $in_use } 個。
    要求：{ $gpus } × GPU，{ $seconds } = 預留 { $hold } GPU 小時；剩下 { $left }。
    現在可以：{ $allowed }。請關閉不需要的 GPU 核心，或申請更高的上限：{ $more }
whole-number = { $field }：請填整數，只用數字。
day-wanted = { $field }：請填日期，格式為 YYYY-MM-DD。

# Files: import and export.
import-refused = 沒有匯入任何資料：發現 { $total } 個錯誤。「errors」清單列出每個錯誤的列、欄位與原因；請修正後重新送出整個檔案。
import-kind-needed = kind：一個 CSV 檔只放一種資料；請指定是哪一種：{ $known }。
import-kind-surplus = kind：YAML 檔自己說明內容；請不要給 kind。
import-encoding = 檔案不是 UTF-8：第 { $line } 行有其他編碼的位元組。請另存為 UTF-8（試算表稱為「CSV UTF-8」）後重新送出。
import-syntax = 檔案不是正確的 { $form }：第 { $line } 行：{ $why }。請修正後重新送出。
import-shape = 資料列不是這樣寫的。YAML 檔是一個對應，從種類對應到資料列的清單；每一列是從欄位對應到單一值。
import-alias = 第 { $line } 行：不接受錨點、別名與標籤。請把值直接寫出來。
import-too-many = 檔案超過 { $most } 列，之後的內容沒有讀取。請分成幾個檔案送出，其他資料所需要的先送。
import-kind-unknown = 沒有可以匯入的 { $names }。可以匯入的有：{ $known }。
import-column-unknown = 這裡沒有欄位 { $names }。欄位有：{ $known }。
import-column-missing = 缺少欄位 { $names }。欄位有：{ $known }。
import-column-twice = { $names } 出現兩次。每個名稱只能出現一次：{ $known }。
import-cells = 這一列有 { $given } 格，標題列有 { $wanted } 格。含有逗號的文字要放在雙引號裡。
import-missing = { $field }：缺少這個值；這種資料的每一列都需要。
import-signs = { $field }：含有不能使用的字元。短名稱是 1 到 40 個 a-z、0-9 與中間的連字號；其他文字不能有換行、<、>、& 與看不見的字元。
import-not-whole = { $field }：這不是以數字寫成的整數，例如 12。
import-not-time = { $field }：這不是時間。請給日期 YYYY-MM-DD（UTC），或 Unix 秒。
import-not-flag = { $field }：這既不是 true 也不是 false。
import-row-twice = 檔案的第 { $first } 列已經是同一筆資料。請只留一筆。
import-fixed = { $field }：目前是「{ $there }」，永不改變；檔案寫的是「{ $given }」。請照目前的值填寫，或拿掉這一列。
pool-run-here = name：「{ $pool }」由這個入口的引擎執行，內容由它的設定決定，檔案不能更改。請照 `nvlhub pool list` 顯示的值填寫，或拿掉這一列。
award-empty = gpu_hours：新的核配必須有時數。
row-refused = 資料庫不接受這一列與目前的資料並存。請與匯出的內容比較後再試一次。
preemptible-off = 「{ $profile }」不能以可中斷方式使用：專案「{ $project }」所屬計畫不允許。未做任何變更。請照一般方式（保留時數）啟動，或向計畫承辦人申請低優先使用。
low-priority = 可以改用可中斷的方式啟動：不收費，也不計入任何上限，但其他人需要 GPU 時就會結束。請選擇名稱帶有「可中斷」的核心；worker 則用 Cluster(preemptible=True)。
preempt-near = 其他人需要這些 GPU，而此租約是可中斷的：將在 { $seconds } 後結束。請立即儲存您的工作。若不再需要，租約會繼續。
supply-too-large = gpu_hours：所有計畫在資源池「{ $pool }」合計最多 { $awarded } GPU 小時。未做任何變更。請減少數量。
preemptible-unneeded = 沒有以可中斷方式啟動「{ $profile }」：專案「{ $project }」付得起，也沒有上限擋住。請照一般方式啟動；低優先使用只給超過餘額或上限的需求。
